//! Archives that their makers wished to be read in two ways, or outside of their folder.

use std::io::Cursor;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::*;

/// An archive that grows block by block.
#[derive(Clone, Default)]
struct Archive(Vec<u8>);

const PLAIN: u8 = b'0';
const FOLDER: u8 = b'5';

impl Archive {
    fn header(self, name: &str, kind: u8, size: u64) -> Self {
        self.raw_header(name.as_bytes(), kind, format!("{size:011o}\0").as_bytes(), |_| {})
    }

    fn raw_header(mut self, name: &[u8], kind: u8, size: &[u8], change: impl FnOnce(&mut [u8])) -> Self {
        let mut block = [0; BLOCK_BYTES];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(size);
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK_BYTES), 0);
        self
    }

    fn entry(self, name: &str, kind: u8, content: &[u8]) -> Self {
        self.header(name, kind, content.len() as u64).content(content)
    }

    fn file(self, name: &str) -> Self {
        self.entry(name, PLAIN, b"content")
    }

    fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let content: String = records.iter().map(|(keyword, value)| record(keyword, value)).collect();
        self.entry("PaxHeaders/0", kind, content.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK_BYTES, 0);
        self.0
    }
}

fn record(keyword: &str, value: &str) -> String {
    let rest = format!(" {keyword}={value}\n");
    let length = (1..100_000_usize).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}")
}

fn checked(archive: &[u8]) -> Result<(), BadArchive> {
    let plain = check_plain(Cursor::new(archive), archive.len() as u64);
    let packed = gzip(archive);
    let unpacked = check_unpacked(MultiGzDecoder::new(packed.as_slice()), packed.len() as u64);
    assert_eq!(plain.is_ok(), unpacked.is_ok(), "{plain:?} {unpacked:?}");
    plain
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn archives_as_tools_write_them_are_taken() {
    let new = Archive::default;
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let cut = &long[..100];
    let split = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    for (name, archive) in [
        ("nothing", new()),
        ("files and folders", new().entry("weights/", FOLDER, b"").file("weights/a.bin").file("b")),
        ("what `tar c .` writes", new().entry("./", FOLDER, b"").entry("./a", FOLDER, b"").file("./a/b")),
        ("an empty file", new().entry("a", PLAIN, b"")),
        ("the oldest form", new().raw_header(b"a", 0, b"0          \0", |block| block[257..265].fill(0))),
        ("a ustar prefix", new().raw_header(b"f", PLAIN, b"00000000000\0", |block| block[345..348].copy_from_slice(b"a/b"))),
        ("a long name as GNU has it", new().entry("././@LongLink", b'L', format!("{long}\0").as_bytes()).file(cut)),
        ("a long name as POSIX has it", new().pax(b'x', &[("path", &long), ("mtime", "1.5")]).file(cut)),
        ("a long name as Python has it", new().pax(b'x', &[("path", &split)]).file(&split[..100])),
        ("letters as Python writes them", new().pax(b'x', &[("path", "höhe.bin")]).file("h?he.bin")),
        ("a commit as git writes it", new().pax(b'g', &[("comment", "c0ffee")]).file("a")),
        ("the name twice, and the same", new().pax(b'x', &[("path", "a"), ("size", "7")]).file("a")),
    ] {
        checked(&archive.end()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let large = new().pax(b'x', &[("size", "8589934592")]).header("large.bin", PLAIN, 0).0;
    let end = large.len() as u64 + (8 << 30);
    assert!(matches!(check_plain(Cursor::new(large), end), Err(BadArchive::Form("ends without the two empty blocks that close it"))));
}

/// Each with its name and what is said of it.
fn refuse(hostile: &[(&str, &str, Vec<u8>)]) {
    for (name, why, archive) in hostile {
        let error = checked(archive).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

#[test]
fn entries_that_no_folder_should_have_are_refused() {
    let new = Archive::default;
    refuse(&[
        ("out of the folder", "must not contain `.` or `..`", new().file("../evil").end()),
        ("out of the folder on the way", "must not contain `.` or `..`", new().file("a/../../evil").end()),
        ("from the root", "must be relative, without empty parts", new().file("/etc/cron.d/evil").end()),
        (
            "from the root by a prefix",
            "must be relative, without empty parts",
            new().raw_header(b"evil", PLAIN, b"00000000000\0", |block| block[345..349].copy_from_slice(b"/etc")).end(),
        ),
        ("a backslash", "contains a backslash or a control character", new().file("..\\evil").end()),
        ("a drive", "contains one of < > : \" | ? *, which Windows cannot have in a name", new().file("C:evil").end()),
        ("a device of Windows", "has a part that Windows takes for a device, such as NUL or COM1", new().file("a/NUL.txt").end()),
        (
            "a symbolic link",
            "is a link",
            new().raw_header(b"a", b'2', b"00000000000\0", |block| block[157..161].copy_from_slice(b"/etc")).file("a/passwd").end(),
        ),
        (
            "a hard link",
            "is a link",
            new().raw_header(b"a", b'1', b"00000000000\0", |block| block[157..168].copy_from_slice(b"/etc/passwd")).end(),
        ),
        ("a character device", "is a device", new().entry("a", b'3', b"").end()),
        ("a block device", "is a device", new().entry("a", b'4', b"").end()),
        ("a pipe", "is a named pipe", new().entry("a", b'6', b"").end()),
        ("a sparse file", "is a sparse file", new().entry("a", b'S', b"").end()),
        ("a kind that is none", "is neither a file nor a folder", new().entry("a", b'Z', b"").end()),
        ("a folder with content", "is a folder with content", new().entry("a", FOLDER, b"content").end()),
        ("a file that is called a folder", "must be relative, without empty parts", new().file("a/").end()),
        ("a name twice", "is there twice", new().file("a").file("a").end()),
        ("a name twice, once from here", "is there twice", new().file("a").file("./a").end()),
        (
            "upper and lower case",
            "differs from another only in upper and lower case, or in how its letters are composed",
            new().file("A/b").file("a/B").end(),
        ),
        (
            "composed and not",
            "differs from another only in upper and lower case, or in how its letters are composed",
            new().file("caf\u{e9}").file("cafe\u{301}").end(),
        ),
        ("a file in a file", "is a file and a folder at once", new().file("a").file("a/b").end()),
        (
            "a name that is not UTF-8",
            "contains a character that is not seen, or that turns the direction of the text",
            new().raw_header(b"\xff", PLAIN, b"00000000000\0", |_| {}).end(),
        ),
        ("no name", "must have 1 to 1024 bytes", new().file("").end()),
    ]);
}

#[test]
fn archives_that_can_be_read_in_two_ways_are_refused() {
    let new = Archive::default;
    let long = "d".repeat(200);
    refuse(&[
        ("two names", "has another name in its header", new().pax(b'x', &[("path", "evil")]).file("good").end()),
        ("two names, the shorter from the root", "leaves the folder", new().pax(b'x', &[("path", &long)]).file("/etc/evil").end()),
        ("two names as GNU has them", "has another name in its header", new().entry("././@LongLink", b'L', b"evil\0").file("good").end()),
        (
            "three names",
            "has a longer name in two ways",
            new().pax(b'x', &[("path", &long)]).entry("././@LongLink", b'L', long.as_bytes()).file(&long[..100]).end(),
        ),
        (
            "a longer name that leaves",
            "must not contain `.` or `..`",
            new().pax(b'x', &[("path", &format!("../{long}"))]).file(&long[..100]).end(),
        ),
        (
            "a zero in a longer name",
            "contains a backslash or a control character",
            new().pax(b'x', &[("path", &format!("{long}\0"))]).file(&long[..100]).end(),
        ),
        ("two sizes", "has another size in its header", new().pax(b'x', &[("size", "1024")]).file("a").content(&[1; 512]).end()),
        (
            "a size of none in the header",
            "has another size in its header",
            new().pax(b'x', &[("size", "512")]).header("a", PLAIN, 0).content(&[1; 512]).end(),
        ),
        ("a size with a sign", "has a size that is no number", new().pax(b'x', &[("size", "+7")]).file("a").end()),
        ("a link by its target alone", "names a link's target", new().pax(b'x', &[("linkpath", "/etc")]).file("a").end()),
        ("a long target", "is a link", new().entry("././@LongLink", b'K', b"/etc\0").file("a").end()),
        ("one name for all", "gives all of its entries one name, size or target", new().pax(b'g', &[("path", "evil")]).file("a").end()),
        ("a record twice", "tells the same of an entry twice", new().pax(b'x', &[("path", "a"), ("path", "b")]).file("b").end()),
        ("a record that runs over", "has an extended header that cannot be read", new().entry("p", b'x', b"99 path=a\n").file("a").end()),
        ("sparse by a record", "has a sparse file", new().pax(b'x', &[("GNU.sparse.major", "1")]).file("a").end()),
        ("other letters", "has names that are not UTF-8", new().pax(b'x', &[("hdrcharset", "BINARY")]).file("a").end()),
        (
            "two headers about one",
            "tells the same of an entry twice",
            new().pax(b'x', &[("mtime", "1")]).pax(b'x', &[("mtime", "2")]).file("a").end(),
        ),
        ("a header about nothing", "ends after a header that is about a next entry", new().pax(b'x', &[("path", "a")]).end()),
        ("a size below nothing", "has a size that is no number", new().raw_header(b"a", PLAIN, &[0xff; 12], |_| {}).end()),
        (
            "a size beyond numbers",
            "has a size that is no number",
            new().raw_header(b"a", PLAIN, b"\x80\0\0\x01\0\0\0\0\0\0\0\0", |_| {}).end(),
        ),
        ("a size that is none", "has a size that is no number", new().raw_header(b"a", PLAIN, b"0000000008x\0", |_| {}).end()),
        ("a size beyond the archive", "ends in the middle of an entry", new().header("a", PLAIN, 1 << 30).end()),
        ("a wrong sum", "has a header whose checksum is wrong", [new().file("a").0, vec![1; BLOCK_BYTES], new().end()].concat()),
        ("no end", "ends without the two empty blocks that close it", new().file("a").0),
        ("half an end", "ends with one empty block where two close it", [new().file("a").0, vec![0; BLOCK_BYTES]].concat()),
        ("cut off", "ends in the middle of an entry", new().file("a").end()[..700].to_vec()),
        ("something after the end", "goes on after its end", [new().file("a").end(), new().file("evil").end()].concat()),
        ("zeros without end", "goes on after its end", [new().file("a").end(), vec![0; 2 << 20]].concat()),
        ("a header of a gigabyte", "has an extended header of more than a mebibyte", new().header("p", b'x', 1 << 30).end()),
    ]);
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    let zeros = gzip(&vec![0; 80 << 20]);
    let mut bomb = gzip(&Archive::default().header("zeros.bin", PLAIN, 7 << 30).0);
    bomb.extend(std::iter::repeat_n(zeros.as_slice(), 3).flatten());
    let refused = check_unpacked(MultiGzDecoder::new(bomb.as_slice()), bomb.len() as u64);
    assert!(matches!(refused, Err(BadArchive::TooLarge { .. })), "{refused:?}");

    let mut many = Archive::default();
    for n in 0..=100_000 {
        many = many.header(&n.to_string(), PLAIN, 0);
    }
    let refused = check_plain(Cursor::new(&many.0), many.0.len() as u64);
    assert!(matches!(refused, Err(BadArchive::TooMany)), "{refused:?}");
}

#[test]
fn what_is_no_gzip_is_refused() {
    let whole = gzip(&Archive::default().file("a").end());
    for packed in [b"PK\x03\x04".to_vec(), whole[..whole.len() - 9].to_vec(), [whole.clone(), b"garbage".to_vec()].concat()] {
        check_unpacked(MultiGzDecoder::new(packed.as_slice()), packed.len() as u64).unwrap_err();
    }
    check_unpacked(MultiGzDecoder::new(whole.as_slice()), whole.len() as u64).unwrap();
}
