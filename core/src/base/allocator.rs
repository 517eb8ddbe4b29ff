//! The system's allocator, told to tidy up as it goes.
//!
//! glibc keeps small pieces that were freed in lists of their own (fast bins), and puts them together with their
//! neighbours all at once, when much is asked for or given back. With a million sessions that takes a tenth of a second, in
//! whatever call it falls, and that call may hold a lock. Without fast bins a piece is put together with its neighbours when
//! it is freed. See mallopt(3), `M_MXFAST`. Other C libraries have no such lists.
//!
//! What was freed then waits in one more list until a piece is asked for that is larger than about 1 KiB. That call sorts
//! the list by size, up to 10000 pieces at once, which takes some 6 ms. So such a piece is asked for often, by who holds no
//! lock. Each thread sorts what belongs to its own arena.

/// Does without fast bins from now on. For the beginning of a program.
pub fn tidy_up_at_once() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call sets one parameter, which glibc allows at any time, and takes no pointer.
    unsafe {
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// More than glibc keeps in lists of one size, less than it asks the kernel for: only such a piece has the list sorted.
#[cfg(target_env = "gnu")]
const LARGE: usize = 16 << 10;

/// Has the allocator sort what was freed since it last did, so that nobody who holds a lock has to wait for that.
pub fn sort_freed() {
    #[cfg(target_env = "gnu")]
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}
