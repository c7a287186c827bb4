//! Archives with two directories, two names, or more in them than they say.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::*;

/// An entry as its header and the directory have it.
#[derive(Clone)]
struct Made {
    name: Vec<u8>,
    local_name: Vec<u8>,
    packed: Vec<u8>,
    bytes: u32,
    local_bytes: u32,
    method: u16,
    flags: u16,
    mode: u32,
    extra: Vec<u8>,
    /// Where the directory says that it lies.
    at: Option<u32>,
}

fn made(name: &str) -> Made {
    let packed = b"content".to_vec();
    Made {
        name: name.into(),
        local_name: name.into(),
        bytes: 7,
        local_bytes: 7,
        method: STORED,
        flags: 0,
        mode: 0o100_644,
        extra: Vec::new(),
        at: None,
        packed,
    }
}

fn deflated(name: &str, content: &[u8]) -> Made {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    let bytes = u32::try_from(content.len()).unwrap();
    Made { packed: encoder.finish().unwrap(), bytes, local_bytes: bytes, method: DEFLATED, ..made(name) }
}

fn zip(entries: &[Made]) -> Vec<u8> {
    zip_with(entries, |_| {})
}

/// `change` is given the record that closes the archive.
fn zip_with(entries: &[Made], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for made in entries {
        let at = made.at.unwrap_or(u32::try_from(archive.len()).unwrap());
        let packed = u32::try_from(made.packed.len()).unwrap();
        archive.extend(b"PK\x03\x04\x14\0");
        archive.extend([made.flags, made.method, 0, 0].map(u16::to_le_bytes).concat());
        archive.extend([0, packed, made.local_bytes].map(u32::to_le_bytes).concat());
        archive.extend([length(&made.local_name), 0].map(u16::to_le_bytes).concat());
        archive.extend([made.local_name.as_slice(), &made.packed].concat());
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        directory.extend([made.flags, made.method, 0, 0].map(u16::to_le_bytes).concat());
        directory.extend([0, packed, made.bytes].map(u32::to_le_bytes).concat());
        directory.extend([length(&made.name), length(&made.extra), 0, 0, 0].map(u16::to_le_bytes).concat());
        directory.extend([made.mode << 16, at].map(u32::to_le_bytes).concat());
        directory.extend([made.name.as_slice(), &made.extra].concat());
    }
    let count = u16::try_from(entries.len()).unwrap();
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([count, count].map(u16::to_le_bytes).concat());
    end.extend([directory.len(), archive.len()].map(|bytes| u32::try_from(bytes).unwrap().to_le_bytes()).concat());
    end.extend([0, 0]);
    change(&mut end);
    [archive, directory, end].concat()
}

fn length(bytes: &[u8]) -> u16 {
    bytes.len().try_into().unwrap()
}

fn checked(archive: &[u8]) -> Result<(), BadArchive> {
    check(Cursor::new(archive), archive.len() as u64)
}

#[test]
fn archives_as_tools_write_them_are_taken() {
    let folder = Made { mode: 0o040_755, packed: Vec::new(), bytes: 0, local_bytes: 0, ..made("a/") };
    let following = Made { flags: 1 << 3, local_bytes: 0, ..deflated("b", &[7; 1_000]) };
    let commented = |end: &mut Vec<u8>| {
        end[20] = 5;
        end.extend(b"hello");
    };
    for (name, archive) in [
        ("nothing", zip(&[])),
        ("stored and deflated", zip(&[folder, made("a/b"), following])),
        ("letters", zip(&[Made { flags: 1 << 11, ..made("höhe.bin") }])),
        ("no mode", zip(&[Made { mode: 0, ..made("a") }])),
        ("a comment", zip_with(&[made("a")], commented)),
    ] {
        checked(&archive).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn hostile_archives_are_refused() {
    let named_otherwise = [b"\x75\x70\x09\0\x01\0\0\0\0evil".as_slice()].concat();
    let two_ends = |end: &mut Vec<u8>| {
        let other = end.clone();
        end[20] = u8::try_from(other.len()).unwrap();
        end.extend(other);
    };
    let hidden_end = |end: &mut Vec<u8>| {
        end[20] = 30;
        end.extend(b"PK\x05\x06".iter().chain(&[9; 26]));
    };
    let inner = zip(&[made("b")]);
    let inner_bytes = u32::try_from(inner.len()).unwrap();
    let hostile: Vec<(&str, &str, Vec<u8>)> = vec![
        ("out of the folder", "must not contain `.` or `..`", zip(&[made("../evil")])),
        ("from the root", "must be relative, without empty parts", zip(&[made("/etc/evil")])),
        ("a backslash", "contains a backslash or a control character", zip(&[made("..\\evil")])),
        ("a drive", "contains one of < > : \" | ? *, which Windows cannot have in a name", zip(&[made("c:/evil")])),
        ("a symbolic link", "is a link", zip(&[Made { mode: 0o120_777, ..made("a") }])),
        ("a device", "is neither a file nor a folder", zip(&[Made { mode: 0o060_644, ..made("a") }])),
        ("a pipe", "is neither a file nor a folder", zip(&[Made { mode: 0o010_644, ..made("a") }])),
        ("a file that is a folder", "is neither a file nor a folder", zip(&[Made { mode: 0o040_755, ..made("a") }])),
        ("a folder with content", "is a folder with content", zip(&[Made { mode: 0o040_755, ..made("a/") }])),
        ("a name twice", "is there twice", zip(&[made("a"), made("a")])),
        (
            "upper and lower case",
            "differs from another only in upper and lower case, or in how its letters are composed",
            zip(&[made("a/B"), made("A/b")]),
        ),
        ("a file in a file", "is a file and a folder at once", zip(&[made("a"), made("a/b")])),
        (
            "another name before the content",
            "has another name before its content",
            zip(&[Made { local_name: b"evil".to_vec(), ..made("good") }]),
        ),
        ("another name in a field", "has another name in its fields", zip(&[Made { extra: named_otherwise, ..made("good") }])),
        (
            "another size before the content",
            "has another size before its content",
            zip(&[Made { local_bytes: 9, ..deflated("a", b"content") }]),
        ),
        ("letters of no alphabet", "does not say that its name is UTF-8", zip(&[made("höhe.bin")])),
        ("a name that is not UTF-8", "has a name that is not UTF-8", zip(&[Made { name: vec![0xff], local_name: vec![0xff], ..made("") }])),
        ("encrypted", "is encrypted", zip(&[Made { flags: 1, ..made("a") }])),
        ("another way to pack", "is packed in a way that cannot be looked into: use deflate", zip(&[Made { method: 93, ..made("a") }])),
        ("stored, and longer than it is", "is not as long as it says", zip(&[Made { bytes: 99, local_bytes: 99, ..made("a") }])),
        ("more than it says", "is not as long as it says", zip(&[Made { bytes: 9, local_bytes: 9, ..deflated("a", &vec![0; 100_000]) }])),
        ("less than it says", "is not as long as it says", zip(&[Made { bytes: 999, local_bytes: 999, ..deflated("a", &[0; 100]) }])),
        (
            "one entry in another",
            "lies over another",
            zip(&[
                Made { packed: inner.clone(), bytes: inner_bytes, local_bytes: inner_bytes, ..made("a") },
                Made { at: Some(31), ..made("b") },
            ]),
        ),
        ("one content under two names", "has another name before its content", zip(&[made("a"), Made { at: Some(0), ..made("b") }])),
        ("beyond the archive", "cannot be read to its end: failed to fill whole buffer", zip(&[Made { at: Some(1 << 30), ..made("a") }])),
        ("something before it", "has a directory that does not lie where it says", [b"#!/bin/sh\n".to_vec(), zip(&[made("a")])].concat()),
        ("something after it", "goes on after its end", [zip(&[made("a")]), b"evil".to_vec()].concat()),
        ("two ends", "could end at two places", zip_with(&[made("a")], two_ends)),
        ("an end in the comment", "could end at two places", zip_with(&[made("a")], hidden_end)),
        ("another number of entries", "has another number of entries than it says", zip_with(&[made("a")], |end| end[8..12].fill(3))),
        ("one disk of two", "is a part of several", zip_with(&[made("a")], |end| end[4] = 1)),
        ("a directory elsewhere", "has a directory that does not lie where it says", zip_with(&[made("a")], |end| end[16] -= 1)),
        ("no zip at all", "has no directory at its end", b"content".to_vec()),
        ("nothing at all", "has no directory at its end", Vec::new()),
        ("a field that runs over", "has fields that cannot be read", zip(&[Made { extra: b"\x01\0\xff\0".to_vec(), ..made("a") }])),
    ];
    for (name, why, archive) in &hostile {
        let error = checked(archive).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

#[test]
fn bombs_are_refused_by_what_they_say() {
    let zeros = deflated("0", &vec![0; 10 << 20]);
    let bomb: Vec<Made> =
        (0..10).map(|n| Made { name: format!("{n}").into(), local_name: format!("{n}").into(), ..zeros.clone() }).collect();
    let refused = checked(&zip(&bomb));
    assert!(matches!(refused, Err(BadArchive::TooLarge { .. })), "{refused:?}");
}

#[test]
fn an_entry_is_read_where_the_directory_says() {
    let archive = zip(&[made("a"), deflated("b.pkl", b"\x80\x04}.")]);
    let mut file = Cursor::new(&archive);
    let listed = entries(&mut file, archive.len() as u64).unwrap();
    let found = listed.iter().find(|entry| entry.name == "b.pkl").unwrap();
    let mut content = Vec::new();
    open(&mut file, found).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, b"\x80\x04}.");
}
