//! Rows that are made up for the columns that a component asks for.

use crate::rows::{Batch, ColumnValues, ColumnView, Wanted};
use panchroma_abi as abi;

/// What the values of a row are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Like {
    /// Numbers between 0.5 and 2, lists of this length.
    Plain(usize),
    /// Null.
    Missing,
    /// Lists without values; numbers that are NaN.
    Empty,
    /// NaN and infinite numbers among others.
    NotFinite,
    /// Numbers of any size and sign.
    Extreme,
}

impl Like {
    fn number(self) -> usize {
        match self {
            Self::Plain(length) => length,
            Self::Missing => 1000,
            Self::Empty => 2000,
            Self::NotFinite => 3000,
            Self::Extreme => 4000,
        }
    }
}

/// Columns that are owned, to make batches of.
pub(super) struct MadeUp {
    ids: Vec<String>,
    columns: Vec<Owned>,
    random: Option<Vec<u64>>,
}

struct Owned {
    present: Vec<u8>,
    offsets: Vec<Vec<u64>>,
    numbers: Numbers,
}

enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U8(Vec<u8>),
    Texts(Vec<String>),
}

/// Length of inner lists: images of a few pixels.
const SIDE: usize = 3;

impl MadeUp {
    /// One row of each kind.
    pub(super) fn new(wanted: &[Wanted], rows: &[Like], flags: u32) -> Self {
        let columns = wanted.iter().enumerate().map(|(number, w)| Owned::new(w, number, rows)).collect();
        // What a row gets depends on its kind alone, too.
        let number = |like: &Like| (1 + like.number() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let random = (flags & abi::RANDOM != 0).then(|| rows.iter().map(number).collect());
        Self { ids: (0..rows.len()).map(|i| format!("object {i}")).collect(), columns, random }
    }

    pub(super) fn batch(&self, mode: u32) -> Batch<'_> {
        Batch {
            ids: self.ids.iter().map(String::as_str).collect(),
            columns: self.columns.iter().map(Owned::view).collect(),
            mode,
            seed: 1,
            epoch: 0,
            random: self.random.as_deref(),
            hurry: false,
        }
    }
}

impl Owned {
    fn view(&self) -> ColumnView<'_> {
        ColumnView {
            present: &self.present,
            offsets: self.offsets.iter().map(Vec::as_slice).collect(),
            values: match &self.numbers {
                Numbers::F32(v) => ColumnValues::F32(v),
                Numbers::F64(v) => ColumnValues::F64(v),
                Numbers::U8(v) => ColumnValues::U8(v),
                Numbers::Texts(v) => ColumnValues::Texts(v.iter().map(String::as_str).collect()),
            },
        }
    }

    fn new(wanted: &Wanted, number: usize, rows: &[Like]) -> Self {
        let depth = wanted.depth();
        let mut own = Self { present: Vec::new(), offsets: vec![vec![0]; depth], numbers: Numbers::new(wanted.kind()) };
        for like in rows {
            // What a row holds depends on its kind alone, so that it can be compared with itself among other rows.
            let first = like.number();
            own.present.push(u8::from(*like != Like::Missing));
            if depth == 0 {
                own.numbers.push(*like, first, number);
                continue;
            }
            let length = match like {
                Like::Plain(length) => *length,
                Like::Missing | Like::Empty => 0,
                Like::NotFinite | Like::Extreme => 6,
            };
            // Rectangles: every inner list has SIDE elements.
            let mut lists = length;
            for level in 0..depth {
                let inner = if level == 0 { length } else { SIDE };
                let above = if level == 0 { 1 } else { lists };
                if level > 0 {
                    lists *= SIDE;
                }
                if let Some(ends) = own.offsets.get_mut(level) {
                    for _ in 0..above {
                        ends.push(ends.last().copied().unwrap_or(0) + inner as u64);
                    }
                }
            }
            for i in 0..lists {
                own.numbers.push(*like, first + i, number);
            }
        }
        own
    }
}

impl Numbers {
    fn new(kind: u32) -> Self {
        match kind {
            abi::F64 => Self::F64(Vec::new()),
            abi::U8 => Self::U8(Vec::new()),
            abi::TEXT => Self::Texts(Vec::new()),
            _ => Self::F32(Vec::new()),
        }
    }

    /// A value that depends on nothing but its place.
    fn push(&mut self, like: Like, place: usize, column: usize) {
        let plain = 0.5 + 1.5 * ((place * 7919 + column * 104_729) % 1009) as f64 / 1009.0;
        let number = match like {
            Like::Plain(_) => plain,
            Like::Missing | Like::Empty => f64::NAN,
            Like::NotFinite => [f64::NAN, f64::INFINITY, plain, f64::NEG_INFINITY][place % 4],
            Like::Extreme => [0.0, -1e30, 1e30, -plain, 1e-30, -0.0][place % 6],
        };
        match self {
            Self::F32(v) => v.push(number as f32),
            Self::F64(v) => v.push(number),
            Self::U8(v) => v.push(u8::from(plain > 1.0)),
            Self::Texts(v) => v.push(match like {
                Like::Missing | Like::Empty => String::new(),
                Like::Extreme => "\u{3b1} Centauri \u{2606} \"quoted\"".into(),
                _ => format!("text {}", place % 3),
            }),
        }
    }
}
