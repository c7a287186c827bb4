//! Reads the header of a safetensors file: what it says must be what is there, byte for byte, so that no loader reads beside it.
//! <https://github.com/huggingface/safetensors#format>

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

const LENGTH_BYTES: usize = 8;
/// A hundred thousand tensors; the largest open models have some thousand in a file.
const HEADER_BYTES_MAX: u64 = 16 << 20;
const DIMENSIONS_MAX: usize = 32;
const METADATA: &str = "__metadata__";

/// Why a safetensors file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTensors {
    #[error("its header {0}")]
    Header(&'static str),
    #[error("its header is not what one must be: {0}")]
    Json(serde_json::Error),
    #[error("its tensor {name:?} {why}")]
    Tensor { name: String, why: &'static str },
    #[error("its tensors leave {bytes} bytes of it to nobody")]
    Gap { bytes: u64 },
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Checks a file of so many bytes, of which only the header is read.
pub(super) fn check(mut file: impl Read, bytes: u64) -> Result<(), BadTensors> {
    let left = bytes.checked_sub(LENGTH_BYTES as u64).ok_or(BadTensors::Header("has no length"))?;
    let mut length = [0; LENGTH_BYTES];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES_MAX {
        return Err(BadTensors::Header("has more than 16 MiB"));
    }
    let data_bytes = left.checked_sub(length).ok_or(BadTensors::Header("is longer than the file"))?;
    let mut header = vec![0; usize::try_from(length).expect("it is at most 16 MiB")];
    file.read_exact(&mut header)?;
    if header.first() != Some(&b'{') {
        return Err(BadTensors::Header("does not begin with {"));
    }
    let header: Header = serde_json::from_slice(&header).map_err(BadTensors::Json)?;
    check_tensors(&header.tensors, data_bytes)
}

/// One after the other, from the first byte to the last.
fn check_tensors(tensors: &HashMap<String, Tensor>, data_bytes: u64) -> Result<(), BadTensors> {
    let mut in_order: Vec<(&String, &Tensor)> = tensors.iter().collect();
    in_order.sort_unstable_by_key(|(name, tensor)| (tensor.data_offsets, *name));
    let mut at = 0;
    for (name, tensor) in in_order {
        let bad = |why| BadTensors::Tensor { name: name.chars().take(200).collect(), why };
        let (from, to) = tensor.data_offsets;
        if from > to {
            return Err(bad("ends before it begins"));
        }
        if to > data_bytes {
            return Err(bad("goes beyond the end of the file"));
        }
        if from < at {
            return Err(bad("lies over another"));
        }
        if from > at {
            return Err(BadTensors::Gap { bytes: from - at });
        }
        if tensor.shape.len() > DIMENSIONS_MAX {
            return Err(bad("has more than 32 dimensions"));
        }
        if tensor.bytes().ok_or_else(|| bad("has a shape that no memory holds, or ends within a byte"))? != to - from {
            return Err(bad("is not as long as its type and shape say"));
        }
        at = to;
    }
    if at < data_bytes { Err(BadTensors::Gap { bytes: data_bytes - at }) } else { Ok(()) }
}

#[derive(Debug, Default)]
struct Header {
    tensors: HashMap<String, Tensor>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Tensor {
    fn bytes(&self) -> Option<u64> {
        let elements = self.shape.iter().try_fold(1_u64, |product, length| product.checked_mul(*length))?;
        let bits = elements.checked_mul(self.dtype.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[expect(non_camel_case_types, reason = "they are written so in the file")]
#[serde(rename_all = "UPPERCASE")]
enum Dtype {
    F4,
    F6_E2M3,
    F6_E3M2,
    Bool,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E5M2FNUZ,
    F8_E4M3FNUZ,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    I64,
    U64,
    F64,
    C64,
}

impl Dtype {
    /// Of one element.
    fn bits(self) -> u64 {
        match self {
            Self::F4 => 4,
            Self::F6_E2M3 | Self::F6_E3M2 => 6,
            Self::Bool | Self::U8 | Self::I8 | Self::F8_E5M2 | Self::F8_E4M3 | Self::F8_E8M0 | Self::F8_E5M2FNUZ | Self::F8_E4M3FNUZ => 8,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 16,
            Self::I32 | Self::U32 | Self::F32 => 32,
            Self::I64 | Self::U64 | Self::F64 | Self::C64 => 64,
        }
    }
}

/// Texts by texts, none told twice.
struct Metadata;

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut header, mut has_metadata) = (Header::default(), false);
        while let Some(name) = map.next_key::<String>()? {
            let twice = if name == METADATA {
                map.next_value::<Metadata>()?;
                std::mem::replace(&mut has_metadata, true)
            } else {
                let tensor = map.next_value()?;
                header.tensors.insert(name, tensor).is_some()
            };
            if twice {
                return Err(A::Error::custom("it has a name twice"));
            }
        }
        Ok(header)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut seen = HashMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if seen.insert(name, value).is_some() {
                return Err(A::Error::custom("it has a name twice"));
            }
        }
        Ok(Metadata)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file(header: &[u8], data_bytes: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header);
        file.resize(file.len() + data_bytes, 7);
        file
    }

    fn told(header: &Value, data_bytes: usize) -> Vec<u8> {
        file(header.to_string().as_bytes(), data_bytes)
    }

    fn checked(file: &[u8]) -> Result<(), BadTensors> {
        check(file, file.len() as u64)
    }

    fn tensor(dtype: &str, shape: &[u64], from: u64, to: u64) -> Value {
        json!({"dtype": dtype, "shape": shape, "data_offsets": [from, to]})
    }

    #[test]
    fn files_that_say_what_is_there_are_taken() {
        for (header, data_bytes) in [
            (json!({}), 0),
            (json!({"a": tensor("F32", &[2, 3], 0, 24)}), 24),
            (json!({"b": tensor("BF16", &[4], 6, 14), "a": tensor("U8", &[6], 0, 6), "__metadata__": {"format": "pt"}}), 14),
            (json!({"scalar": tensor("F64", &[], 0, 8), "empty": tensor("F16", &[0, 5], 8, 8)}), 8),
            (json!({"quarter": tensor("F4", &[2, 2], 0, 2), "f8": tensor("F8_E4M3", &[3], 2, 5), "b": tensor("BOOL", &[1], 5, 6)}), 6),
            (json!({"complex": tensor("C64", &[1], 0, 8), "six": tensor("F6_E2M3", &[4], 8, 11)}), 11),
        ] {
            checked(&told(&header, data_bytes)).unwrap_or_else(|error| panic!("{header}: {error}"));
        }
        checked(&file(b"{}      ", 0)).unwrap();
    }

    #[test]
    fn files_that_lie_are_refused() {
        let tensors = |header: Value, data_bytes| told(&header, data_bytes);
        let deep = [b"{\"a\":".repeat(500), b"1".to_vec(), b"}".repeat(500)].concat();
        let lies: Vec<(&str, &str, Vec<u8>)> = vec![
            ("no length", "its header has no length", b"\x02\0\0".to_vec()),
            ("a length without a header", "its header is longer than the file", 2_u64.to_le_bytes().to_vec()),
            ("a header longer than the file", "its header is longer than the file", [100_u64.to_le_bytes().as_slice(), b"{}"].concat()),
            ("a header as long as numbers go", "its header has more than 16 MiB", [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat()),
            ("a header of nothing", "its header does not begin with {", file(b"", 0)),
            ("space before the header", "its header does not begin with {", file(b"  {}", 0)),
            ("a list", "its header does not begin with {", file(b"[]", 0)),
            ("no JSON", "key must be a string", file(b"{'a': 1}", 0)),
            ("something after the JSON", "trailing characters", file(b"{}{}", 0)),
            ("zeros after the JSON", "trailing characters", file(b"{}\0\0", 0)),
            ("text that is not UTF-8", "invalid unicode code point", file(b"{\"\xff\": 1}", 0)),
            ("a header five hundred deep", "unknown field `a`", file(&deep, 0)),
            (
                "a name twice",
                "it has a name twice",
                file(br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
            ),
            ("a field twice", "duplicate field `dtype`", file(br#"{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#, 1)),
            ("metadata twice", "it has a name twice", file(br#"{"__metadata__":{},"__metadata__":{}}"#, 0)),
            ("a name of metadata twice", "it has a name twice", file(br#"{"__metadata__":{"a":"b","a":"c"}}"#, 0)),
            ("metadata that is no text", "invalid type: integer `1`, expected a string", file(br#"{"__metadata__":{"a":1}}"#, 0)),
            ("a type that is none", "unknown variant `F31`", tensors(json!({"a": tensor("F31", &[1], 0, 4)}), 4)),
            ("a field too many", "unknown field `x`", file(br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}"#, 1)),
            (
                "a negative length",
                "invalid value: integer `-1`, expected u64",
                file(br#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1),
            ),
            (
                "a broken offset",
                "invalid type: floating point `1.5`, expected u64",
                file(br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1.5]}}"#, 1),
            ),
            ("an end before the beginning", "ends before it begins", tensors(json!({"a": tensor("U8", &[1], 2, 1)}), 2)),
            ("an end beyond the file", "goes beyond the end of the file", tensors(json!({"a": tensor("U8", &[9], 0, 9)}), 8)),
            ("a shape that is longer", "is not as long as its type and shape say", tensors(json!({"a": tensor("F32", &[3], 0, 8)}), 8)),
            (
                "a shape that overflows",
                "has a shape that no memory holds, or ends within a byte",
                tensors(json!({"a": tensor("U8", &[1 << 33, 1 << 33], 0, 8)}), 8),
            ),
            (
                "two over one another",
                "lies over another",
                tensors(json!({"a": tensor("U8", &[4], 0, 4), "b": tensor("U8", &[4], 2, 6)}), 6),
            ),
            ("two at one place", "lies over another", tensors(json!({"a": tensor("U8", &[4], 0, 4), "b": tensor("U8", &[4], 0, 4)}), 4)),
            ("a gap before the first", "its tensors leave 4 bytes of it to nobody", tensors(json!({"a": tensor("U8", &[4], 4, 8)}), 8)),
            (
                "a gap between two",
                "its tensors leave 1 bytes of it to nobody",
                tensors(json!({"a": tensor("U8", &[4], 0, 4), "b": tensor("U8", &[4], 5, 9)}), 9),
            ),
            ("bytes after the last", "its tensors leave 1 bytes of it to nobody", tensors(json!({"a": tensor("U8", &[4], 0, 4)}), 5)),
            ("half a byte", "has a shape that no memory holds, or ends within a byte", tensors(json!({"a": tensor("F4", &[3], 0, 1)}), 1)),
            ("too many dimensions", "has more than 32 dimensions", tensors(json!({"a": tensor("U8", &[1; 33], 0, 1)}), 1)),
        ];
        for (name, why, file) in &lies {
            let error = checked(file).expect_err(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn only_the_header_is_read() {
        let whole = told(&json!({"a": tensor("U8", &[1 << 40], 0, 1 << 40)}), 0);
        check(whole.as_slice(), whole.len() as u64 + (1 << 40)).unwrap();
        let long = [(17_u64 << 20).to_le_bytes().to_vec(), vec![b' '; 17 << 20]].concat();
        assert!(matches!(checked(&long), Err(BadTensors::Header("has more than 16 MiB"))));
    }
}
