//! Reads a pickle's instructions without following them, to tell what loading it would import.
//! <https://github.com/python/cpython/blob/main/Lib/pickletools.py> describes them.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// Old `PyTorch` files begin with four pickles, and what follows the fifth is numbers.
const PICKLES_MAX: usize = 16;
/// Of one pickle file; what is below all of `PyTorch`'s own.
const BYTES_MAX: u64 = 64 << 20;
/// Of one file, and the length of each half of a name: a version's description has them.
pub(super) const IMPORTS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 100;
const MEMO_MAX: usize = 100_000;
const RECENT_MAX: usize = 64;

/// What could be read of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Whether loading it does anything: it says that it is a pickle, or imports something.
    pub(super) is_pickle: bool,
    /// `module.name`, [`IMPORTS_MAX`] of each pickle at most.
    pub(super) imports: BTreeSet<String>,
    /// Whether all of it could be read.
    pub(super) is_whole: bool,
}

/// Reads pickles that follow each other, until one ends the file or cannot be read.
pub(super) fn scan(pickle: impl Read) -> io::Result<Scan> {
    let mut reader = Reader { pickle: BufReader::new(pickle.take(BYTES_MAX)), scan: Scan::default() };
    for n in 0..PICKLES_MAX {
        let next = reader.pickle.fill_buf()?.first().copied();
        // The first may be of the oldest kind, which does not say so.
        if next.is_none() || (n > 0 && next != Some(op::PROTO)) {
            break;
        }
        match reader.one() {
            Ok(()) => reader.scan.is_whole = true,
            Err(Stopped::Broken) => {
                reader.scan.is_whole = false;
                break;
            }
            Err(Stopped::Io(error)) => return Err(error),
        }
    }
    Ok(reader.scan)
}

/// Those that are told apart here.
mod op {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const STOP: u8 = b'.';
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const FRAME: u8 = 0x95;
}

enum Stopped {
    /// An instruction that is none, or an end in the middle. What came before is known.
    Broken,
    Io(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput) {
            return Self::Broken;
        }
        Self::Io(error)
    }
}

struct Reader<R> {
    pickle: BufReader<io::Take<R>>,
    scan: Scan,
}

/// What lies on top of the loader's stack, as far as it is text, and what was put aside.
#[derive(Default)]
struct Machine {
    recent: Vec<Option<String>>,
    memo: HashMap<u32, String>,
    memoized: u32,
}

impl Machine {
    fn push(&mut self, value: Option<String>) {
        if self.recent.len() == RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push(value);
    }

    fn remember(&mut self, key: u32) {
        if let Some(Some(text)) = self.recent.last()
            && self.memo.len() < MEMO_MAX
        {
            self.memo.insert(key, text.clone());
        }
    }

    fn recall(&mut self, key: u32) {
        self.push(self.memo.get(&key).cloned());
    }
}

impl<R: Read> Reader<R> {
    /// Reads one pickle to its end.
    fn one(&mut self) -> Result<(), Stopped> {
        let mut machine = Machine::default();
        loop {
            let code = self.byte()?;
            match code {
                op::STOP => return Ok(()),
                op::PROTO => {
                    self.scan.is_pickle |= (2..=5).contains(&self.byte()?);
                }
                op::FRAME => self.pass(8)?,
                op::STACK_GLOBAL => {
                    let name = machine.recent.pop().flatten();
                    let module = machine.recent.pop().flatten();
                    self.import(module.as_deref(), name.as_deref());
                    machine.push(None);
                }
                b'c' | b'i' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.import(Some(&module), Some(&name));
                    machine.push(None);
                }
                op::MEMOIZE => {
                    machine.remember(machine.memoized);
                    machine.memoized = machine.memoized.wrapping_add(1);
                }
                b'q' => machine.remember(self.number(1)?),
                b'r' => machine.remember(self.number(4)?),
                b'p' => machine.remember(self.decimal()?),
                b'h' => machine.recall(self.number(1)?),
                b'j' => machine.recall(self.number(4)?),
                b'g' => machine.recall(self.decimal()?),
                // Texts.
                b'U' | 0x8c => self.push_text(&mut machine, 1)?,
                b'T' | b'X' => self.push_text(&mut machine, 4)?,
                0x8d => self.push_text(&mut machine, 8)?,
                b'V' => machine.push(Some(self.line()?)),
                b'S' => machine.push(Some(self.line()?.trim_matches(['\'', '"']).to_owned())),
                // Other values with a length before them.
                b'C' | 0x8a => self.pass_counted(&mut machine, 1)?,
                b'B' | 0x8b => self.pass_counted(&mut machine, 4)?,
                0x8e | 0x96 => self.pass_counted(&mut machine, 8)?,
                // Values of a fixed length.
                b'K' | 0x82 => self.pass_value(&mut machine, 1)?,
                b'M' | 0x83 => self.pass_value(&mut machine, 2)?,
                b'J' | 0x84 => self.pass_value(&mut machine, 4)?,
                b'G' => self.pass_value(&mut machine, 8)?,
                b'F' | b'I' | b'L' | b'P' => {
                    self.line()?;
                    machine.push(None);
                }
                b'0' => drop(machine.recent.pop()),
                b'2' => machine.push(machine.recent.last().cloned().flatten()),
                // What takes values and leaves others, of which none is text.
                b'(' | b'1' | b'N' | b'Q' | b'R' | b'a' | b'b' | b'd' | b'}' | b'e' | b'l' | b']' | b'o' | b's' | b't' | b')' | b'u' => {
                    machine.push(None);
                }
                0x81 | 0x85..=0x89 | 0x8f..=0x92 | 0x97 | 0x98 => machine.push(None),
                _ => return Err(Stopped::Broken),
            }
        }
    }

    fn import(&mut self, module: Option<&str>, name: Option<&str>) {
        self.scan.is_pickle = true;
        if self.scan.imports.len() < IMPORTS_MAX {
            let part =
                |text: Option<&str>| text.unwrap_or("?").chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect::<String>();
            self.scan.imports.insert(format!("{}.{}", part(module), part(name)));
        }
    }

    fn byte(&mut self) -> Result<u8, Stopped> {
        let mut byte = [0];
        self.pickle.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Result<u32, Stopped> {
        let mut number = [0; 4];
        self.pickle.read_exact(&mut number[..bytes])?;
        Ok(u32::from_le_bytes(number))
    }

    fn length(&mut self, bytes: usize) -> Result<u64, Stopped> {
        let mut length = [0; 8];
        self.pickle.read_exact(&mut length[..bytes])?;
        Ok(u64::from_le_bytes(length))
    }

    fn decimal(&mut self) -> Result<u32, Stopped> {
        self.line()?.parse().map_err(|_| Stopped::Broken)
    }

    /// Up to the end of the line; of a long one the beginning.
    fn line(&mut self) -> Result<String, Stopped> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte if line.len() < NAME_BYTES_MAX => line.push(byte),
                _ => {}
            }
        }
    }

    fn push_text(&mut self, machine: &mut Machine, length_bytes: usize) -> Result<(), Stopped> {
        let length = self.length(length_bytes)?;
        let mut text = Vec::new();
        let kept = length.min(NAME_BYTES_MAX as u64);
        self.pickle.by_ref().take(kept).read_to_end(&mut text)?;
        self.pass(length - kept)?;
        machine.push(Some(String::from_utf8_lossy(&text).into_owned()));
        Ok(())
    }

    fn pass_counted(&mut self, machine: &mut Machine, length_bytes: usize) -> Result<(), Stopped> {
        let length = self.length(length_bytes)?;
        self.pass_value(machine, length)
    }

    fn pass_value(&mut self, machine: &mut Machine, bytes: u64) -> Result<(), Stopped> {
        machine.push(None);
        self.pass(bytes)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Stopped> {
        let passed = io::copy(&mut self.pickle.by_ref().take(bytes), &mut io::sink())?;
        if passed < bytes { Err(Stopped::Broken) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(pickle: &[u8]) -> Vec<String> {
        scan(pickle).unwrap().imports.into_iter().collect()
    }

    #[test]
    fn what_a_pickle_imports_is_read_in_every_protocol() {
        // `pickletools` calls these protocol 0, INST, protocol 2, and protocol 4 with frames and a memo.
        assert_eq!(imports(b"cos\nsystem\n(S'id'\ntR."), ["os.system"]);
        assert_eq!(imports(b"(S'id'\nios\nsystem\n."), ["os.system"]);
        assert_eq!(imports(b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03."), ["posix.system"]);
        let framed = b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.";
        assert_eq!(imports(framed), ["posix.system"]);
    }

    #[test]
    fn names_that_were_put_aside_are_found() {
        let memo = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.";
        assert_eq!(imports(memo), ["os.system"]);
        let old = b"X\x02\0\0\0osp7\n0X\x06\0\0\0systemr\xff\xff\x00\x000g7\njj\xff\x00\x00\x93.";
        assert_eq!(imports(old), ["os.?"], "what was never put aside is not known");
        assert_eq!(imports(b"\x80\x04K\x01K\x02\x93."), ["?.?"]);
    }

    #[test]
    fn a_pickle_that_breaks_after_its_import_is_still_one() {
        let broken = scan(&b"cos\nsystem\n(S'id'\ntR\xff"[..]).unwrap();
        assert!(broken.is_pickle && !broken.is_whole && broken.imports.contains("os.system"));
        let cut = scan(&b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff"[..]).unwrap();
        assert!(cut.is_pickle && !cut.is_whole && cut.imports.is_empty());
    }

    #[test]
    fn what_is_none_is_not_called_one() {
        for other in [&b""[..], b".", b"GGUF\x03\0\0\0", b"{\"json\": 1}", b"\x7fELF\x02\x01", b"\x80\x99.", b"I1\n.", b"(lp0\n."] {
            assert!(!scan(other).unwrap().is_pickle, "{other:?}");
        }
        assert!(scan(&b"\x80\x04}."[..]).unwrap().is_pickle);
    }

    #[test]
    fn every_pickle_of_an_old_file_is_read() {
        let file = b"\x80\x02K\x01.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02ctorch\nFloatStorage\n.\x80\x02]q\0.\x01\x02\x03numbers";
        let scan = scan(&file[..]).unwrap();
        assert!(scan.is_whole && scan.imports.contains("torch.FloatStorage"));
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let long = [b"c".to_vec(), b"m".repeat(1 << 20), b"\nx\n.".to_vec()].concat();
        assert_eq!(imports(&long)[0].len(), NAME_BYTES_MAX + 2);
        let many: Vec<u8> = (0..1_000).flat_map(|n| format!("cm\nx{n}\n").into_bytes()).chain(*b".").collect();
        assert_eq!(imports(&many).len(), IMPORTS_MAX);
    }
}
