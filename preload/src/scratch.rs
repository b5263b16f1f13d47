// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory for one datagram, which a thread keeps for the next: what a program sends and receives often is not allocated each time.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Longest datagram that can be received: beyond what portwayd sends.
pub(crate) const DATAGRAM_MAX: usize = 512 << 10;

type Scratch = RefCell<Vec<u8>>;

thread_local! {
    static RECEIVED: Scratch = const { RefCell::new(Vec::new()) };
    static SENT: Scratch = const { RefCell::new(Vec::new()) };
}

/// Gives a thread's memory to `work`. A signal handler that needs it while its thread does, and a thread that ends, get other memory.
fn with<R>(memory: &'static LocalKey<Scratch>, work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut work = Some(work);
    let mut run = |bytes: &mut Vec<u8>| work.take().map(|work| work(bytes));
    let done = memory.try_with(|bytes| bytes.try_borrow_mut().ok().and_then(|mut bytes| run(&mut bytes)));
    match done.ok().flatten().or_else(|| run(&mut Vec::new())) {
        Some(result) => result,
        None => unreachable!(
            "`run` gives nothing only the second time, and then it gave something the first time"
        ),
    }
}

/// Gives `work` room for the longest datagram.
pub(crate) fn with_room<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    with(&RECEIVED, |bytes| {
        bytes.resize(DATAGRAM_MAX, 0);
        work(bytes)
    })
}

/// Gives `work` an empty vector for what is sent.
pub(crate) fn with_empty<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    with(&SENT, |bytes| {
        bytes.clear();
        let result = work(bytes);
        // One that was longer than requests are is not kept.
        bytes.clear();
        bytes.shrink_to(DATAGRAM_MAX);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_has_memory_of_its_own() {
        let len = with_empty(|outer| {
            outer.extend([1; 3]);
            // As in a signal handler.
            with_empty(|inner| {
                assert!(inner.is_empty());
                inner.extend([2; 5]);
            });
            with_room(|room| assert_eq!(room.len(), DATAGRAM_MAX));
            assert_eq!(*outer, [1; 3]);
            outer.len()
        });
        assert_eq!(len, 3);
    }

    #[test]
    fn it_is_kept_up_to_a_length() {
        let place = with_empty(|bytes| {
            bytes.extend([0; 1000]);
            bytes.as_ptr()
        });
        with_empty(|bytes| {
            assert!(bytes.is_empty() && bytes.capacity() >= 1000);
            assert_eq!(bytes.as_ptr(), place);
            bytes.resize(2 * DATAGRAM_MAX, 0);
        });
        with_empty(|bytes| assert!(bytes.capacity() <= DATAGRAM_MAX));
    }
}
