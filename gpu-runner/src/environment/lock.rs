//! What a lock may say: exact versions of packages from the operator's index, with hashes, and nothing that reads or runs anything else.

/// A line that is not `name==version --hash=sha256:…`; lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLine(pub(super) usize);

/// Checks a requirements file from a publisher. Installers obey options in it (`--index-url`, `-r /etc/…`, `-e .`) and fetch from addresses in
/// it, so only plain pinned packages pass.
pub(super) fn check(text: &str) -> Result<(), BadLine> {
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut entry = without_comment(line).to_owned();
        while let Some(begun) = entry.strip_suffix('\\') {
            entry = format!("{begun} {}", lines.next().map_or("", |(_, line)| without_comment(line)));
        }
        if !entry.trim().is_empty() && !is_pinned(&entry) {
            return Err(BadLine(number + 1));
        }
    }
    Ok(())
}

fn without_comment(line: &str) -> &str {
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
    line[..comment.unwrap_or(line.len())].trim_end()
}

fn is_pinned(entry: &str) -> bool {
    let Some((requirement, hashes)) = entry.split_once("--hash=") else { return false };
    let mut hashes = hashes.split_whitespace();
    let first = hashes.next().is_some_and(is_sha256);
    let rest = hashes.all(|hash| hash.strip_prefix("--hash=").is_some_and(is_sha256));
    first && rest && is_exact(requirement)
}

fn is_sha256(hash: &str) -> bool {
    hash.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `name[extra,…]==version ; marker`: <https://packaging.python.org/en/latest/specifications/dependency-specifiers/>.
fn is_exact(requirement: &str) -> bool {
    let (package, marker) = requirement.split_once(';').unwrap_or((requirement, ""));
    let Some((name, version)) = package.split_once("==") else { return false };
    let (name, extras) = name.trim().split_once('[').map_or((name.trim(), ""), |(name, rest)| (name, rest));
    let extras_are_plain = extras.is_empty() || extras.strip_suffix(']').is_some_and(|extras| consists_of(extras, "-_.,  "));
    let marker_is_plain = consists_of(marker, "-_.<>=!~'\"() ") && !marker.contains("--");
    is_word(name, "-_.") && extras_are_plain && is_word(version.trim(), "-_.+!") && marker_is_plain
}

fn is_word(text: &str, marks: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && consists_of(text, marks)
}

fn consists_of(text: &str, marks: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "--hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274";

    #[test]
    fn a_lock_as_uv_writes_it_passes() {
        let lock = format!(
            "# compiled by uv\nsix==1.17.0 \\\n    {HASH} \\\n    {HASH}\n    # via -r requirements.in\n\nuvicorn[standard]==0.30.1 ; \
             python_full_version < '3.13' and sys_platform == 'linux' {HASH}\ntorch==2.4.0+cpu {HASH}  # the CPU's\n"
        );
        assert_eq!(check(&lock), Ok(()));
        assert_eq!(check(""), Ok(()));
    }

    #[test]
    fn whatever_could_read_or_run_something_else_is_refused_by_its_line() {
        for bad in [
            "six==1.17.0".to_owned(),
            format!("six>=1.17.0 {HASH}"),
            format!("six {HASH}"),
            format!("six @ https://example.com/six.whl {HASH}"),
            format!("https://example.com/six.whl {HASH}"),
            format!("./six.whl {HASH}"),
            format!("file:///etc/passwd {HASH}"),
            "-r /etc/passwd".to_owned(),
            "-e .".to_owned(),
            "--index-url https://example.com/simple".to_owned(),
            format!("six==1.17.0 {HASH} --config-settings=x"),
            format!("six==1.17.0 --index-url=x {HASH}"),
            format!("six==1.17.0 ; --index-url=x {HASH}"),
            format!("six==1.17.0 --hash=md5:00 {HASH}"),
            "six==1.17.0 --hash=sha256:00".to_owned(),
            format!("six==1.* {HASH}"),
            "\\".to_owned() + "\n-r x",
        ] {
            assert_eq!(check(&format!("# first\n{bad}\n")), Err(BadLine(2)), "{bad}");
        }
    }
}
