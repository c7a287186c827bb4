//! A file's name where it must mean nothing else: in an address, in a header, on a runner's disk.

const NAME_BYTES_MAX: usize = 255;

/// The last part of a path, for an address or a header: with only characters that mean nothing in a path or an address.
pub(crate) fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = last.trim_start_matches('.').chars().map(plain).take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_place() {
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("C:\\dir\\a b.png"), "a_b.png");
        assert_eq!(file_name("..."), "file");
        assert_eq!(file_name("\u{e9}t\u{e9}.png"), "_t_.png");
        assert_eq!(file_name(&"x".repeat(500)).len(), NAME_BYTES_MAX);
    }
}
