//! The enumerations of proxy-wasm 0.2.1.
//!
//! The Rust SDK knows the statuses 0, 1, 2, 3, 4, 7, 8 and 10 only and has no defined behaviour for others. So 6 is
//! kept for pointers outside the guest's memory, and 12 for calls that no filter of that SDK makes unasked.

/// What a host call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Status {
    #[error("ok")]
    Ok = 0,
    #[error("not found")]
    NotFound = 1,
    #[error("bad argument")]
    BadArgument = 2,
    #[error("parse failure")]
    ParseFailure = 4,
    #[error("invalid memory access")]
    InvalidMemoryAccess = 6,
    #[error("empty")]
    Empty = 7,
    #[error("compare-and-swap mismatch")]
    CasMismatch = 8,
    #[error("internal failure")]
    InternalFailure = 10,
    #[error("unimplemented")]
    Unimplemented = 12,
}

/// The number a guest reads for `result`.
#[must_use]
pub const fn code(result: Result<(), Status>) -> i32 {
    match result {
        Ok(()) => Status::Ok as i32,
        Err(status) => status as i32,
    }
}

/// Which header map a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum MapKind {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    CallHeaders,
    CallTrailers,
}

impl MapKind {
    /// Reads the specification's number; gRPC metadata (4, 5) is never there.
    ///
    /// # Errors
    /// `NotFound` for gRPC metadata, `BadArgument` for any other number.
    pub const fn read(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 | 5 => return Err(Status::NotFound),
            6 => Self::CallHeaders,
            7 => Self::CallTrailers,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// Which buffer a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum BufferKind {
    RequestBody,
    ResponseBody,
    CallBody,
    VmConfiguration,
    PluginConfiguration,
}

impl BufferKind {
    /// Reads the specification's number; TCP data (2, 3), gRPC (5) and foreign arguments (8) are never there.
    ///
    /// # Errors
    /// `NotFound` for those, `BadArgument` for any other number.
    pub const fn read(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            2 | 3 | 5 | 8 => return Err(Status::NotFound),
            4 => Self::CallBody,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// The direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Direction {
    Request,
    Response,
}

impl Direction {
    /// Reads the specification's number; TCP directions are not served.
    ///
    /// # Errors
    /// `BadArgument` for anything but the two HTTP directions.
    pub const fn read(number: u32) -> Result<Self, Status> {
        match number {
            0 => Ok(Self::Request),
            1 => Ok(Self::Response),
            _ => Err(Status::BadArgument),
        }
    }
}

/// Whether a callback's action lets the message go on. Every value but 0 pauses it.
#[must_use]
pub const fn continues(action: u32) -> bool {
    action == 0
}
