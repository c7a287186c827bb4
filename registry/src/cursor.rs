//! Pages of a list: a cursor names the row at which the next page begins, so that rows which come and go shift nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::RegistryError;

/// Rows of one page.
pub const PAGE_ROWS: usize = 25;
/// Rows that a statement fetches for one: one more, to see whether the list goes on.
pub(crate) const SCAN_ROWS: i64 = 26;

/// A page of a list. The cursors are opaque; the door makes addresses of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
    pub previous: Option<String>,
}

impl<T> Page<T> {
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(change).collect(), next: self.next, previous: self.previous }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    const fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// The row beside which a page begins, and on which side of it the page lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The value by which the list is sorted.
    key: i64,
    /// Tells apart rows with the same key.
    id: String,
    #[serde(default, skip_serializing_if = "is_false")]
    backward: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, RegistryError> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| RegistryError::BadCursor)?;
        let cursor: Self = serde_json::from_slice(&json).map_err(|_| RegistryError::BadCursor)?;
        let is_id = cursor.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_id.then_some(cursor).ok_or(RegistryError::BadCursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

/// Which rows a statement must fetch: those past `(key, id)` in the scan's direction, [`SCAN_ROWS`] at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) direction: Direction,
    pub(crate) key: i64,
    pub(crate) id: String,
    begins_at_an_end: bool,
    backward: bool,
}

impl Scan {
    pub(crate) fn of(direction: Direction, cursor: Option<&str>) -> Result<Self, RegistryError> {
        let Some(cursor) = cursor.map(Cursor::parse).transpose()? else {
            let key = match direction {
                Direction::Ascending => i64::MIN,
                Direction::Descending => i64::MAX,
            };
            return Ok(Self { direction, key, id: String::new(), begins_at_an_end: true, backward: false });
        };
        let direction = if cursor.backward { direction.reversed() } else { direction };
        Ok(Self { direction, key: cursor.key, id: cursor.id, begins_at_an_end: false, backward: cursor.backward })
    }

    /// Makes a page of the rows that the scan fetched, in the order in which it fetched them.
    pub(crate) fn page<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> (i64, String)) -> Page<T> {
        let goes_on = rows.len() > PAGE_ROWS;
        rows.truncate(PAGE_ROWS);
        if self.backward {
            rows.reverse();
        }
        let at = |row: Option<&T>, backward| {
            let (key, id) = place(row?);
            Some(Cursor { key, id, backward }.to_string())
        };
        let (next, previous) = if self.backward { (true, goes_on) } else { (goes_on, !self.begins_at_an_end) };
        Page { next: next.then(|| at(rows.last(), false)).flatten(), previous: previous.then(|| at(rows.first(), true)).flatten(), rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a statement with this scan would fetch from the rows 0 to 59, newest first.
    fn fetch(cursor: Option<&str>) -> Page<i64> {
        let scan = Scan::of(Direction::Descending, cursor).unwrap();
        let mut rows: Vec<i64> = match scan.direction {
            Direction::Descending => (0..60).rev().filter(|row| *row < scan.key).collect(),
            Direction::Ascending => (0..60).filter(|row| *row > scan.key).collect(),
        };
        rows.truncate(PAGE_ROWS + 1);
        scan.page(rows, |row| (*row, format!("id{row}")))
    }

    #[test]
    fn a_list_reads_forward_to_its_end_and_back_to_its_beginning() {
        let first = fetch(None);
        assert_eq!((first.rows[0], first.rows.len(), &first.previous), (59, PAGE_ROWS, &None));
        let second = fetch(first.next.as_deref());
        let third = fetch(second.next.as_deref());
        assert_eq!((third.rows.last(), third.rows.len(), &third.next), (Some(&0), 10, &None));
        assert_eq!(fetch(third.previous.as_deref()).rows, second.rows);
        let back = fetch(second.previous.as_deref());
        assert_eq!((back.rows, back.previous), (first.rows, None));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for bad in ["", "x", "e30", "../..", "eyJrZXkiOiJhIn0", &URL_SAFE_NO_PAD.encode(r#"{"key":1,"id":"\u0000"}"#)] {
            assert!(matches!(Scan::of(Direction::Descending, Some(bad)), Err(RegistryError::BadCursor)), "{bad}");
        }
    }
}
