//! The layout of pages. Numbers are little-endian; bbolt itself uses the machine's byte order.

/// Page size in bytes of files that this crate writes.
pub const PAGE_BYTES: usize = 4096;

/// Size in bytes of a page's header: id, kind, number of elements, number of overflow pages.
pub const HEADER_BYTES: usize = 16;

/// Size in bytes of an element in a branch or a leaf.
pub const ELEMENT_BYTES: usize = 16;

/// Kind of a branch page, whose elements refer to pages.
pub const BRANCH: u16 = 1;
/// Kind of a leaf page, whose elements are keys with values.
pub const LEAF: u16 = 2;
/// Kind of a meta page. The first two pages are meta pages.
pub const META: u16 = 4;
/// Kind of a freelist page, which lists the free pages.
pub const FREE: u16 = 16;

/// Flag of a leaf element whose value is a bucket.
pub const IS_BUCKET: u32 = 1;

/// Size in bytes of a bucket's value: its root page and a counter. A longer value continues with an inline page.
pub const BUCKET_BYTES: usize = 16;

/// Number of meta pages. The valid meta page with the higher transaction is used.
pub const METAS: u64 = 2;

/// Magic number of a bbolt file.
pub const MAGIC: u32 = 0xED0C_DAED;

/// The only version of the format.
pub const VERSION: u32 = 2;

/// Size in bytes of a meta page's contents, including the checksum.
pub const META_BYTES: usize = 64;

/// Offset of the checksum, which covers all preceding bytes.
pub const CHECKSUM_AT: usize = 56;

/// A page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// The page number.
    pub id: u64,
    /// [`BRANCH`], [`LEAF`], [`META`] or [`FREE`].
    pub kind: u16,
    /// Number of elements that follow.
    pub count: u16,
    /// Number of overflow pages, which follow this page and belong to it.
    pub overflow: u32,
}

impl PageHeader {
    /// Returns the number of pages, including the overflow pages.
    pub fn pages(self) -> u64 {
        u64::from(self.overflow) + 1
    }

    /// Encodes the header.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.kind.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }

    /// Decodes the header at the start of a page, or returns `None` if there are too few bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            kind: u16::from_le_bytes(bytes_at(bytes, 8)?),
            count: u16::from_le_bytes(bytes_at(bytes, 10)?),
            overflow: u32_at(bytes, 12)?,
        })
    }
}

/// The contents of a meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaPage {
    /// Page number of the root of the bucket that contains all other buckets.
    pub root: u64,
    /// Page number of the freelist; `u64::MAX` if the file has none.
    pub free: u64,
    /// Number of pages in the file.
    pub end: u64,
    /// Id of the transaction that wrote the meta page.
    pub transaction: u64,
    /// Page size of the file in bytes: the page size of the machine that created it.
    pub page_bytes: u64,
}

/// Page sizes that a file may have. This crate writes [`PAGE_BYTES`].
pub const PAGE_SIZES: [u64; 7] = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

impl MetaPage {
    /// Encodes the meta page. The lowest bit of the transaction is the number of the page.
    pub fn page(self) -> [u8; PAGE_BYTES] {
        let header = PageHeader {
            id: self.transaction % METAS,
            kind: META,
            count: 0,
            overflow: 0,
        };
        let mut body = [0; META_BYTES];
        body[..4].copy_from_slice(&MAGIC.to_le_bytes());
        body[4..8].copy_from_slice(&VERSION.to_le_bytes());
        body[8..12].copy_from_slice(&(self.page_bytes as u32).to_le_bytes());
        body[16..24].copy_from_slice(&self.root.to_le_bytes());
        body[32..40].copy_from_slice(&self.free.to_le_bytes());
        body[40..48].copy_from_slice(&self.end.to_le_bytes());
        body[48..56].copy_from_slice(&self.transaction.to_le_bytes());
        let sum = checksum(&body[..CHECKSUM_AT]);
        body[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        let mut page = [0; PAGE_BYTES];
        page[..HEADER_BYTES].copy_from_slice(&header.encode());
        page[HEADER_BYTES..HEADER_BYTES + META_BYTES].copy_from_slice(&body);
        page
    }

    /// Decodes a meta page. Checks the magic number, version, checksum and page size, but not the page's header. Returns the
    /// defect as the error.
    pub fn parse(page: &[u8]) -> Result<Self, &'static str> {
        let body = page
            .get(HEADER_BYTES..HEADER_BYTES + META_BYTES)
            .ok_or("it is too short")?;
        let number = |at| u64_at(body, at).unwrap_or_default();
        let word = |at| u32_at(body, at).unwrap_or_default();
        if word(0) != MAGIC || word(4) != VERSION {
            return Err("it is not a bbolt file");
        }
        if number(CHECKSUM_AT) != checksum(&body[..CHECKSUM_AT]) {
            return Err("the checksum of its meta page is wrong");
        }
        let page_bytes = u64::from(word(8));
        if !PAGE_SIZES.contains(&page_bytes) {
            return Err("its page size is invalid");
        }
        Ok(Self {
            root: number(16),
            free: number(32),
            end: number(40),
            transaction: number(48),
            page_bytes,
        })
    }
}

/// Computes the 64-bit FNV-1a hash.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Reads the little-endian 32-bit number at an offset, or returns `None` if the bytes end earlier.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

/// Reads the little-endian 64-bit number at an offset, or returns `None` if the bytes end earlier.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_page_equals_the_one_of_bbolt() {
        // These values are copied from a real file.
        let meta = MetaPage {
            root: 3,
            // The file has no freelist.
            free: u64::MAX,
            end: 5,
            transaction: 4,
            page_bytes: 4096,
        };
        let page = meta.page();
        assert_eq!(
            u64_at(&page, HEADER_BYTES + CHECKSUM_AT),
            Some(0x5c76_ebae_f100_d961)
        );
        assert_eq!(MetaPage::parse(&page), Ok(meta));
        let mut torn = page;
        torn[40] ^= 1;
        assert_eq!(
            MetaPage::parse(&torn),
            Err("the checksum of its meta page is wrong")
        );
        assert_eq!(MetaPage::parse(&[0; 4096]), Err("it is not a bbolt file"));
        assert_eq!(MetaPage::parse(&page[..70]), Err("it is too short"));
    }
}
