//! Guest memory: every pointer a guest hands over passes through here, and nothing is copied that can be read in
//! place.
//!
//! The base of a memory may move whenever the guest runs, so nothing borrowed from it lives across a guest call:
//! [`give`] asks the guest's allocator first and borrows afterwards.

use wasmtime::{Caller, Memory, TypedFunc};

use super::numbers::Status;

/// The largest block handed to a guest, in bytes: a call-out's answer of the largest kind. Larger ones are
/// refused with `InternalFailure`.
pub const GIVE_MAX: usize = 64 << 20;

/// A guest's memory and allocator, as far as they are known.
#[derive(Default)]
pub struct Guest {
    /// The exported memory, once the module is instantiated.
    pub memory: Option<Memory>,
    /// The exported allocator, `(size) -> address`, once the module is instantiated.
    pub allocate: Option<TypedFunc<u32, u32>>,
    /// A trap inside the allocator. The guest cannot go on; the caller that entered it takes it down.
    pub trap: Option<wasmtime::Error>,
}

/// The data of a store that runs a guest.
pub trait HasGuest: 'static {
    /// The guest.
    fn guest(&mut self) -> &mut Guest;
}

/// A pointer and a length as a guest wrote them, not yet believed.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub u32, pub u32);

impl Span {
    /// The bytes it names.
    ///
    /// # Errors
    /// `InvalidMemoryAccess` when they are not all in `memory`.
    pub fn of(self, memory: &[u8]) -> Result<&[u8], Status> {
        let start = self.0 as usize;
        let end = start
            .checked_add(self.1 as usize)
            .ok_or(Status::InvalidMemoryAccess)?;
        memory.get(start..end).ok_or(Status::InvalidMemoryAccess)
    }
}

/// Guest memory and host state together.
///
/// # Errors
/// `InternalFailure` before the guest's memory is known, which is before any code of it runs.
pub fn split<'c, T: HasGuest>(caller: &'c mut Caller<'_, T>) -> Result<(&'c mut [u8], &'c mut T), Status> {
    let memory = caller.data_mut().guest().memory.ok_or(Status::InternalFailure)?;
    Ok(memory.data_and_store_mut(caller))
}

/// Writes a little-endian `u32` at `at`.
///
/// # Errors
/// `InvalidMemoryAccess` when it does not fit.
pub fn put_u32(memory: &mut [u8], at: u32, value: u32) -> Result<(), Status> {
    put(memory, at, &value.to_le_bytes())
}

/// Writes a little-endian `u64` at `at`.
///
/// # Errors
/// `InvalidMemoryAccess` when it does not fit.
pub fn put_u64(memory: &mut [u8], at: u32, value: u64) -> Result<(), Status> {
    put(memory, at, &value.to_le_bytes())
}

/// Writes `bytes` at `at`.
///
/// # Errors
/// `InvalidMemoryAccess` when they do not fit.
pub fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), Status> {
    let start = at as usize;
    let end = start
        .checked_add(bytes.len())
        .ok_or(Status::InvalidMemoryAccess)?;
    memory
        .get_mut(start..end)
        .ok_or(Status::InvalidMemoryAccess)?
        .copy_from_slice(bytes);
    Ok(())
}

/// Where a guest wants the pointer and the length of what it is given.
#[derive(Debug, Clone, Copy)]
pub struct Out(pub u32, pub u32);

/// Gives the guest `len` bytes that `fill` writes straight into its memory. Nothing at all is pointer 0 and
/// length 0, without a call of the allocator.
///
/// # Errors
/// `InternalFailure` when the guest's allocator fails, `InvalidMemoryAccess` when what it returned, or `out`, is
/// outside its memory, and whatever `fill` answers.
pub fn give<T: HasGuest>(
    caller: &mut Caller<'_, T>,
    len: usize,
    out: Out,
    fill: impl FnOnce(&mut [u8], &mut T) -> Result<(), Status>,
) -> Result<(), Status> {
    let at = if len == 0 { 0 } else { allocate(caller, len)? };
    let size = u32::try_from(len).map_err(|_| Status::InternalFailure)?;
    let (memory, host) = split(caller)?;
    if len > 0 {
        let start = at as usize;
        let end = start.checked_add(len).ok_or(Status::InvalidMemoryAccess)?;
        fill(
            memory.get_mut(start..end).ok_or(Status::InvalidMemoryAccess)?,
            host,
        )?;
    }
    put_u32(memory, out.0, at)?;
    put_u32(memory, out.1, size)
}

/// [`give`] for bytes that are at hand.
///
/// # Errors
/// As [`give`].
pub fn give_bytes<T: HasGuest>(caller: &mut Caller<'_, T>, bytes: &[u8], out: Out) -> Result<(), Status> {
    give(caller, bytes.len(), out, |block, _| {
        block.copy_from_slice(bytes);
        Ok(())
    })
}

fn allocate<T: HasGuest>(caller: &mut Caller<'_, T>, len: usize) -> Result<u32, Status> {
    if len > GIVE_MAX {
        return Err(Status::InternalFailure);
    }
    let size = u32::try_from(len).map_err(|_| Status::InternalFailure)?;
    // Taken out for the call, because a clone costs more. An allocator that makes a host call finds none.
    let allocate = caller
        .data_mut()
        .guest()
        .allocate
        .take()
        .ok_or(Status::InternalFailure)?;
    let allocated = allocate.call(&mut *caller, size);
    caller.data_mut().guest().allocate = Some(allocate);
    match allocated {
        Ok(at) if at != 0 => Ok(at),
        Ok(_) => Err(Status::InternalFailure),
        Err(trap) => {
            caller.data_mut().guest().trap.get_or_insert(trap);
            Err(Status::InternalFailure)
        }
    }
}
