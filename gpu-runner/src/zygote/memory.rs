//! Whether this machine has memory to spare.

/// The part of the memory that must stay available, as its reciprocal: a machine that has less makes room for instances first.
const KEPT_FREE: u64 = 8;

/// Reads the kernel's own estimate, <https://man7.org/linux/man-pages/man5/proc_meminfo.5.html>; a machine that gives none is not short.
pub(super) fn is_short() -> bool {
    is_short_by(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn is_short_by(meminfo: &str) -> bool {
    let kilobytes = |name: &str| meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes("MemTotal:").zip(kilobytes("MemAvailable:")).is_some_and(|(total, available)| available < total / KEPT_FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_when_an_eighth_is_not_available() {
        assert!(is_short_by("MemTotal:       8000 kB\nMemFree: 10 kB\nMemAvailable:    999 kB\n"));
        assert!(!is_short_by("MemTotal:       8000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n") && !is_short_by(""));
    }
}
