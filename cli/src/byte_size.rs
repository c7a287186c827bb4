//! Sizes as people write them: `500GB`, `1.5 TiB`, `4096`.

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];
/// Digits after the point; more than a terabyte needs to be told in bytes.
const FRACTION_DIGITS_MAX: usize = 12;

/// Reads a size in bytes.
pub fn parse(text: &str) -> Result<u64, String> {
    read(text.trim()).ok_or_else(|| "a size such as 500GB, 1.5TiB or a number of bytes".to_owned())
}

fn read(text: &str) -> Option<u64> {
    let number_bytes = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_bytes);
    let unit = unit.trim().to_ascii_lowercase();
    let bytes = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let parts = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let numerator = u128::from(whole.parse::<u64>().ok()?) * parts + u128::from(fraction.parse::<u64>().ok()?);
    u64::try_from(numerator * u128::from(bytes) / parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("500GB", 500_000_000_000),
            ("1.5 TiB", 3 << 39),
            (" 20 mib ", 20 << 20),
            ("0.001KB", 1),
            ("12b", 12),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GB", "-1", "1e9", "1.2.3GB", ".", "1.", "5 PB", "1 G B", "99999999999TiB", "18446744073709551616"] {
            parse(text).unwrap_err();
        }
    }
}
