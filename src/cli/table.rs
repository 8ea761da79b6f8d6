//! A table in text.

use std::fmt::Write as _;

use super::console::Look;

/// Columns as wide as their widest cell, two blanks apart; nothing is cut off.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]], look: &Look) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let gap = width + 2 - cell.chars().count();
            let _ = write!(out, "{cell}{:gap$}", "");
        }
        out.trim_end().to_owned()
    };
    let mut text = format!("{}\n", look.paint.bold(&line(headings)));
    for row in rows {
        let _ = writeln!(text, "{}", line(row.each_ref().map(String::as_str)));
    }
    text
}
