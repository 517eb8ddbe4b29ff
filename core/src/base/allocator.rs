//! The system's allocator, told to tidy up as it goes.
//!
//! glibc keeps small pieces that were freed in lists of their own (fast bins), and puts them together with their
//! neighbours all at once, when much is asked for or given back. With a million sessions that takes a tenth of a second, in
//! whatever call it falls, and that call may hold a lock. Without fast bins a piece is put together with its neighbours when
//! it is freed. See mallopt(3), `M_MXFAST`. Other C libraries have no such lists.

/// Does without fast bins from now on. For the beginning of a program.
pub fn tidy_up_at_once() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call sets one parameter, which glibc allows at any time, and takes no pointer.
    unsafe {
        libc::mallopt(libc::M_MXFAST, 0);
    }
}
