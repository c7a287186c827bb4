//! Whether this machine has memory to spare, and how much of it instances may take.

/// The part of the memory that must stay available, as its reciprocal: a machine that has less makes room for instances first.
const KEPT_FREE: u64 = 8;

/// Reads the kernel's own estimate, <https://man7.org/linux/man-pages/man5/proc_meminfo.5.html>; a machine that gives none is not short.
pub fn is_short() -> bool {
    is_short_by(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

/// All but that part, in bytes; `None` on a machine that does not tell.
pub fn to_use() -> Option<u64> {
    to_use_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn to_use_of(meminfo: &str) -> Option<u64> {
    let total = kilobytes(meminfo, "MemTotal:")? * 1024;
    Some(total - total / KEPT_FREE)
}

fn is_short_by(meminfo: &str) -> bool {
    let (total, available) = (kilobytes(meminfo, "MemTotal:"), kilobytes(meminfo, "MemAvailable:"));
    total.zip(available).is_some_and(|(total, available)| available < total / KEPT_FREE)
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_when_an_eighth_is_not_available() {
        assert!(is_short_by("MemTotal:       8000 kB\nMemFree: 10 kB\nMemAvailable:    999 kB\n"));
        assert_eq!(to_use_of("MemTotal:       8 kB\n"), Some(7 * 1024));
        assert!(!is_short_by("MemTotal:       8000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n") && !is_short_by(""));
    }
}
