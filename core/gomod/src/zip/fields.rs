//! Reading little-endian fields of zip structures in order, without ever going past the end.

/// What is left of a zip structure.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*head))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }
}

/// The payload of the first extra field with this id. Unreadable extra data ends the search, as in Go.
pub(super) fn extra_field(extra: &[u8], id: u16) -> Option<Fields<'_>> {
    let mut fields = Fields(extra);
    loop {
        let found = fields.u16()?;
        let length = fields.u16()?;
        let payload = fields.take(usize::from(length))?;
        if found == id {
            return Some(Fields(payload));
        }
    }
}

/// Extra field that carries 64-bit sizes.
pub(super) const ZIP64_EXTRA: u16 = 1;
