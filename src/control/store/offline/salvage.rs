//! Rows out of a file whose structure is broken: every page that looks like a leaf of rows by id is
//! read, whether a tree still leads to it or not. A row carries a check sum that its id is part of,
//! so what is taken is what was written once; a page may be an old one.
//!
//! A leaf, in redb's format: `1`, a byte, the number of pairs (u16), where each value ends (u32),
//! the keys of ten bytes each, the values. Numbers are little endian, pages start at multiples of
//! 4096. A leaf whose head is damaged is lost as a whole, unless an older copy of it is around.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const PAGE: usize = 4096;
/// No row of ours comes near it.
const LEAF_BYTES_MAX: usize = 1 << 20;
const LEAF: u8 = 1;
const KEY: usize = 10;

/// Calls `found` with each key and value of each page that may be a leaf.
pub(super) fn scan(file: &File, mut found: impl FnMut([u8; KEY], &[u8])) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut page = vec![0; PAGE];
    let mut offset = 0;
    while offset < length {
        let size = usize::try_from(length - offset).unwrap_or(PAGE).min(PAGE);
        page.resize(size, 0);
        file.read_exact_at(&mut page, offset)?;
        if let Some(whole) = whole_size(&page) {
            let whole = usize::try_from(length - offset).unwrap_or(whole).min(whole);
            if whole > PAGE {
                page.resize(whole, 0);
                file.read_exact_at(&mut page, offset)?;
            }
            pairs(&page, &mut found);
        }
        offset += PAGE as u64;
    }
    Ok(())
}

/// How far the values of a leaf reach; `None`: it is no leaf.
fn whole_size(page: &[u8]) -> Option<usize> {
    let (&[kind, _, a, b], _) = page.split_first_chunk::<4>()?;
    let count = usize::from(u16::from_le_bytes([a, b]));
    if kind != LEAF || count == 0 {
        return None;
    }
    let ends = (0..count).map_while(|at| end(page, at));
    let last = ends.filter(|end| *end <= LEAF_BYTES_MAX).max()?;
    Some(last.max(page.len()))
}

fn pairs(page: &[u8], found: &mut impl FnMut([u8; KEY], &[u8])) {
    let Some((&[_, _, a, b], _)) = page.split_first_chunk::<4>() else { return };
    let count = usize::from(u16::from_le_bytes([a, b]));
    let keys = 4 + 4 * count;
    for at in 0..count {
        let start = if at == 0 { Some(keys + KEY * count) } else { end(page, at - 1) };
        let value = start.zip(end(page, at)).and_then(|(start, end)| page.get(start..end));
        let key = page.get(keys + KEY * at..).and_then(|rest| rest.first_chunk::<KEY>());
        if let (Some(key), Some(value)) = (key, value) {
            found(*key, value);
        }
    }
}

fn end(page: &[u8], at: usize) -> Option<usize> {
    let bytes = page.get(4 + 4 * at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}
