//! The wire format of SSH (RFC 4251, section 5): lengths before bytes, numbers from the high end.

/// Bytes that end early, go on too long, or hold something that is no text where text is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// From the first byte.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Wire(bytes)
    }

    /// A fixed number of bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        self.take(1).map(|taken| taken[0])
    }

    /// A number of four bytes.
    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        let taken = self.take(4)?.try_into().map_err(|_| Unreadable)?;
        Ok(u32::from_be_bytes(taken))
    }

    /// A number of eight bytes.
    pub(super) fn u64(&mut self) -> Result<u64, Unreadable> {
        let taken = self.take(8)?.try_into().map_err(|_| Unreadable)?;
        Ok(u64::from_be_bytes(taken))
    }

    /// Bytes with their length before them.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// The same as text.
    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.string()?).map_err(|_| Unreadable)
    }

    /// A number that is not negative, without leading zeros (`mpint`).
    pub(super) fn positive(&mut self) -> Result<&'a [u8], Unreadable> {
        match self.string()? {
            [] => Err(Unreadable),
            [0, rest @ ..] if rest.first().is_some_and(|&byte| byte >= 0x80) => Ok(rest),
            [first, ..] if *first == 0 || *first >= 0x80 => Err(Unreadable),
            bytes => Ok(bytes),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much is left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// What comes behind the end is a fault.
    pub(super) fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }
}

/// Appends bytes with their length before them. What is hashed and signed here is far below four gigabytes.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
