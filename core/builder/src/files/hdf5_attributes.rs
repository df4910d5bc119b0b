//! Attributes of HDF5 groups, with their types. The crate that reads HDF5 gives those of groups as text, whatever
//! they are; so the groups are found here by what the format says (HDF5 File Format Specification 3.0), with the
//! crate's decoders.

use rust_hdf5::format::btree_v1::BTreeV1Node;
use rust_hdf5::format::dense_attr::read_dense_attributes;
use rust_hdf5::format::dense_link::read_dense_links;
use rust_hdf5::format::local_heap::{LocalHeapHeader, local_heap_get_string};
use rust_hdf5::format::messages::attr_info::AttributeInfoMessage;
use rust_hdf5::format::messages::attribute::{AttributeEntry, AttributeMessage};
use rust_hdf5::format::messages::continuation::ContinuationMessage;
use rust_hdf5::format::messages::datatype::IeeeFormat;
use rust_hdf5::format::messages::link::{LinkMessage, LinkTarget};
use rust_hdf5::format::messages::link_info::LinkInfoMessage;
use rust_hdf5::format::messages::{
    MSG_ATTR_INFO, MSG_ATTRIBUTE, MSG_FLAG_SHARED, MSG_LINK, MSG_LINK_INFO, MSG_OBJ_HEADER_CONTINUATION,
    MSG_SYMBOL_TABLE,
};
use rust_hdf5::format::object_header::ObjectHeader;
use rust_hdf5::format::superblock::{SuperblockV0V1, SuperblockV2V3, detect_superblock_version};
use rust_hdf5::format::symbol_table::SymbolTableNode;
use rust_hdf5::format::{BlockReader, FormatContext, FormatError, FormatResult};
use rust_hdf5::{ByteOrder, DatatypeMessage};
use serde_json::{Number, Value};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

/// Most structures are smaller.
const PROBE: usize = 8192;

/// Addresses of what is in a group, by name.
type Links = Rc<HashMap<String, u64>>;

/// One message of an object's header: its type and what it holds.
type Message = (u8, Vec<u8>);

/// An HDF5 file as blocks of bytes.
pub(super) struct Attributes {
    blocks: Blocks,
    context: FormatContext,
    root: u64,
    /// By address of the group.
    links: HashMap<u64, Links>,
}

struct Blocks(File);

impl BlockReader for Blocks {
    fn read_block(&mut self, offset: u64, length: usize) -> FormatResult<Vec<u8>> {
        let mut block = Vec::new();
        let found = self.0.seek(SeekFrom::Start(offset));
        let read = found.and_then(|_| (&mut self.0).take(length as u64).read_to_end(&mut block));
        read.map(|_| block).map_err(|e| FormatError::InvalidData(e.to_string()))
    }
}

impl Attributes {
    /// Finds the root group.
    pub(super) fn open(path: &Path) -> FormatResult<Self> {
        let mut blocks = Blocks(File::open(path).map_err(|e| FormatError::InvalidData(e.to_string()))?);
        let start = blocks.read_block(0, PROBE)?;
        let (root, sizeof_addr, sizeof_size) = if detect_superblock_version(&start)? < 2 {
            let block = SuperblockV0V1::decode(&start)?;
            (block.root_symbol_table_entry.obj_header_addr, block.sizeof_offsets, block.sizeof_lengths)
        } else {
            let block = SuperblockV2V3::decode(&start)?;
            (block.root_group_object_header_address, block.sizeof_offsets, block.sizeof_lengths)
        };
        let context = FormatContext { sizeof_addr, sizeof_size };
        Ok(Self { blocks, context, root, links: HashMap::new() })
    }

    /// The attributes of a group by its path (`a/b`; the root's is empty), as far as they can be read.
    pub(super) fn of(&mut self, group: &str) -> FormatResult<Vec<AttributeMessage>> {
        let mut at = self.root;
        for name in group.split('/').filter(|name| !name.is_empty()) {
            let links = match self.links.get(&at) {
                Some(links) => links.clone(),
                None => {
                    let found = Rc::new(self.find_links(at)?);
                    self.links.insert(at, found.clone());
                    found
                }
            };
            let none = || FormatError::InvalidData(format!("no group `{name}`"));
            at = links.get(name).copied().ok_or_else(none)?;
        }
        let mut found = Vec::new();
        for (kind, data) in self.messages(at)? {
            match kind {
                MSG_ATTRIBUTE => found.extend(AttributeEntry::parse(&data, &self.context).ok()),
                MSG_ATTR_INFO => {
                    let (info, _) = AttributeInfoMessage::decode(&data, &self.context)?;
                    found.extend(read_dense_attributes(&info, &self.context, &mut self.blocks)?);
                }
                _ => {}
            }
        }
        Ok(found.iter().filter_map(AttributeEntry::readable).cloned().collect())
    }

    fn find_links(&mut self, at: u64) -> FormatResult<HashMap<String, u64>> {
        let mut links = Vec::new();
        let mut found = HashMap::new();
        for (kind, data) in self.messages(at)? {
            match kind {
                MSG_LINK => links.push(LinkMessage::decode(&data, &self.context)?.0),
                MSG_LINK_INFO => {
                    let (info, _) = LinkInfoMessage::decode(&data, &self.context)?;
                    links.extend(read_dense_links(&info, &self.context, &mut self.blocks)?);
                }
                MSG_SYMBOL_TABLE => {
                    let (tree, heap) = data.split_at(data.len().min(usize::from(self.context.sizeof_addr)));
                    let heap = heap.get(..tree.len()).unwrap_or_default();
                    self.find_symbols(whole(tree), whole(heap), &mut found)?;
                }
                _ => {}
            }
        }
        found.extend(links.into_iter().filter_map(|link| match link.target {
            LinkTarget::Hard { address } => Some((link.name, address)),
            _ => None,
        }));
        Ok(found)
    }

    /// Names and addresses of a group as files have them that old versions of HDF5 can read.
    fn find_symbols(&mut self, tree: u64, heap: u64, into: &mut HashMap<String, u64>) -> FormatResult<()> {
        let (address, size) = (usize::from(self.context.sizeof_addr), usize::from(self.context.sizeof_size));
        let heap = self.decode(heap, |block| LocalHeapHeader::decode(block, address, size))?;
        let names = self.blocks.read_block(heap.data_addr, usize::try_from(heap.data_size).unwrap_or(usize::MAX))?;
        let (mut nodes, mut seen) = (vec![tree], BTreeSet::new());
        while let Some(node) = nodes.pop() {
            if !seen.insert(node) {
                continue;
            }
            let node = self.decode(node, |block| BTreeV1Node::decode(block, address, size, u16::MAX))?;
            if node.level > 0 {
                nodes.extend(node.children);
                continue;
            }
            for leaf in node.children {
                let leaf = self.decode(leaf, |block| SymbolTableNode::decode(block, address, size, u16::MAX))?;
                for entry in leaf.entries {
                    into.insert(local_heap_get_string(&names, entry.name_offset)?, entry.obj_header_addr);
                }
            }
        }
        Ok(())
    }

    /// What an object's header holds; messages that are stored elsewhere are left out.
    fn messages(&mut self, at: u64) -> FormatResult<Vec<Message>> {
        let header = |block: &[u8]| Ok((ObjectHeader::decode_any(block)?.0, block.starts_with(b"OHDR")));
        let (header, new) = self.decode(at, header)?;
        let ordered = new && header.has_creation_order();
        let own = header.messages.into_iter().filter(|m| m.flags & MSG_FLAG_SHARED == 0);
        let mut messages: Vec<Message> = own.map(|m| (m.msg_type, m.data)).collect();
        let (mut next, mut seen) = (0, BTreeSet::new());
        while let Some((kind, data)) = messages.get(next) {
            next += 1;
            if *kind == MSG_OBJ_HEADER_CONTINUATION {
                let (more, _) = ContinuationMessage::decode(data, &self.context)?;
                if seen.insert(more.offset) {
                    let length = usize::try_from(more.length).unwrap_or(usize::MAX);
                    let block = self.blocks.read_block(more.offset, length)?;
                    messages.extend(continued(&block, new, ordered));
                }
            }
        }
        Ok(messages)
    }

    /// Decodes what is at an address; a decoder that finds its block too short says what it needs.
    fn decode<T>(&mut self, at: u64, decode: impl Fn(&[u8]) -> FormatResult<T>) -> FormatResult<T> {
        let block = self.blocks.read_block(at, PROBE)?;
        match decode(&block) {
            Err(FormatError::BufferTooShort { needed, .. }) if needed > block.len() => {
                decode(&self.blocks.read_block(at, needed)?)
            }
            decoded => decoded,
        }
    }
}

/// The messages of a later block of a header, of version 2 if `new`, with the order of creation if `ordered`.
fn continued(block: &[u8], new: bool, ordered: bool) -> Vec<Message> {
    // Version 2 has a signature before them and a checksum after them.
    let mut rest = if new { block.get(4..block.len().saturating_sub(4)).unwrap_or_default() } else { block };
    let mut found = Vec::new();
    loop {
        let (kind, size, flags, start) = match *rest {
            [kind, low, high, flags, ..] if new => (kind, [low, high], flags, if ordered { 6 } else { 4 }),
            [kind, 0, low, high, flags, ..] if !new => (kind, [low, high], flags, 8),
            _ => return found,
        };
        let end = start + usize::from(u16::from_le_bytes(size));
        let Some(data) = rest.get(start..end) else { return found };
        if flags & MSG_FLAG_SHARED == 0 {
            found.push((kind, data.to_vec()));
        }
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// A whole number without sign from its bytes, the lowest first.
fn whole(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The number or flag that an attribute of one element holds; none for text, lists and other types.
pub(super) fn value(datatype: &DatatypeMessage, bytes: &[u8]) -> Option<Value> {
    if let DatatypeMessage::Enum { base, .. } = datatype {
        let number = value(base, bytes)?;
        return Some(if is_flag(datatype) { Value::from(number.as_i64()? != 0) } else { number });
    }
    let (DatatypeMessage::FixedPoint { size, byte_order, .. }
    | DatatypeMessage::FloatingPoint { size, byte_order, .. }) = datatype
    else {
        return None;
    };
    if bytes.len() != *size as usize || !matches!(size, 1 | 2 | 4 | 8) {
        return None;
    }
    let mut bytes = bytes.to_vec();
    if *byte_order == ByteOrder::BigEndian {
        bytes.reverse();
    }
    let number = whole(&bytes);
    match datatype {
        // Shifted to the top and back, the sign fills what the number is short of 64 bits.
        DatatypeMessage::FixedPoint { signed: true, .. } => {
            let short = 64 - 8 * size;
            Some(Value::from(((number << short) as i64) >> short))
        }
        DatatypeMessage::FixedPoint { .. } => Some(Value::from(number)),
        _ => match datatype.ieee_format()? {
            IeeeFormat::Binary64 => Number::from_f64(f64::from_bits(number)).map(Value::Number),
            IeeeFormat::Binary32 => Number::from_f64(f64::from(f32::from_bits(number as u32))).map(Value::Number),
            IeeeFormat::Binary16 => None,
        },
    }
}

/// Whether an enumeration is that of false and true, as h5py writes flags.
pub(super) fn is_flag(datatype: &DatatypeMessage) -> bool {
    let DatatypeMessage::Enum { members, .. } = datatype else { return false };
    let named = |name: &str| members.iter().any(|m| m.name.eq_ignore_ascii_case(name));
    members.len() == 2 && named("FALSE") && named("TRUE")
}
