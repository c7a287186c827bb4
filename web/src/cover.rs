//! The picture of a version, drawn from its digest: 32 bytes, 32 cells. The same version looks the same everywhere.

use std::fmt::Write as _;

use protocol::Digest;

const COLUMNS: usize = 8;
/// The side of a cell, in the picture's own units: even, and divisible where shapes need it.
const SIDE: usize = 20;

/// A ground and three inks.
const PALETTES: [[&str; 4]; 5] = [
    ["#fdf2dd", "#c78a10", "#f6dc99", "#2b4f81"],
    ["#f2eedf", "#e1502b", "#2e7d4f", "#cfe3c2"],
    ["#fbe8d7", "#e1502b", "#f7c49f", "#2b4f81"],
    ["#e9eff5", "#2b4f81", "#a9c4e6", "#f2a541"],
    ["#f5e9ea", "#8a3b5c", "#ecb9bd", "#2e7d4f"],
];

/// Draws the cover of a version as an SVG document, twice as wide as it is high.
pub(crate) fn draw(version: &Digest) -> String {
    let bytes = version.as_bytes();
    let sum: usize = bytes.iter().map(|&byte| usize::from(byte)).sum();
    let [ground, inks @ ..] = PALETTES[sum % PALETTES.len()];
    let (width, height) = (COLUMNS * SIDE, bytes.len() / COLUMNS * SIDE);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><path fill="{ground}" d="M0 0h{width}v{height}H0z"/>"#
    );
    let mut paths = [const { String::new() }; 3];
    for (cell, &byte) in bytes.iter().enumerate() {
        shape(&mut paths[usize::from(byte >> 5) % inks.len()], byte, cell % COLUMNS * SIDE, cell / COLUMNS * SIDE);
    }
    for (ink, path) in inks.iter().zip(&paths) {
        if !path.is_empty() {
            write!(svg, r#"<path fill="{ink}" d="{path}"/>"#).expect("a string takes all text");
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Adds what a byte stands for: its low three bits choose the shape, the next two turn it.
fn shape(path: &mut String, byte: u8, left: usize, top: usize) {
    let (right, bottom, half, dot) = (left + SIDE, top + SIDE, SIDE / 2, SIDE * 8 / 25);
    // The corner that a quarter circle or a triangle sits in, and its two neighbours, clockwise.
    let (corner, before, after) = match (byte >> 3) & 3 {
        0 => ((left, top), (left, bottom), (right, top)),
        1 => ((right, top), (left, top), (right, bottom)),
        2 => ((right, bottom), (right, top), (left, bottom)),
        _ => ((left, bottom), (right, bottom), (left, top)),
    };
    let written = match byte & 7 {
        0 | 1 => Ok(()),
        2 | 3 => write!(path, "M{left} {top}h{SIDE}v{SIDE}h-{SIDE}z"),
        4 | 5 => {
            let ((cx, cy), (bx, by), (ax, ay)) = (corner, before, after);
            write!(path, "M{cx} {cy}L{ax} {ay}A{SIDE} {SIDE} 0 0 1 {bx} {by}z")
        }
        6 => {
            let ((cx, cy), (bx, by), (ax, ay)) = (corner, before, after);
            write!(path, "M{cx} {cy}L{ax} {ay}L{bx} {by}z")
        }
        _ => write!(path, "M{x} {y}a{dot} {dot} 0 1 0 {d} 0a{dot} {dot} 0 1 0-{d} 0z", x = left + half - dot, y = top + half, d = 2 * dot),
    };
    written.expect("a string takes all text");
}

/// Where the cover of a version lies; a model without a version has the cover of its name.
pub(crate) fn path(version: Option<&str>, model: &str) -> String {
    match version {
        Some(id) => format!("/assets/cover/{id}.svg"),
        None => format!("/assets/cover/{}.svg", Digest::of(model.as_bytes()).hex()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_version_looks_the_same_and_another_looks_different() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(draw(&a), draw(&a));
        assert_ne!(draw(&a), draw(&b));
    }

    #[test]
    fn a_cover_is_small_and_holds_only_shapes() {
        for seed in 0..50_u8 {
            let svg = draw(&Digest::of(&[seed]));
            assert!(svg.len() < 2_500, "{}", svg.len());
            assert!(svg.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
        }
    }

    #[test]
    fn a_cover_is_pinned_so_that_it_never_changes_by_accident() {
        let drawn = Digest::of(draw(&Digest::of(b"feira")).as_bytes());
        assert_eq!(drawn.hex(), "c499b87563709343bbccefc4c6cac5a4a861fc04cb5d3972620ccea605937505");
    }
}
