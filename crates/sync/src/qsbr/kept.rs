// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The seats that a thread keeps from one pin to the next: taking one costs no lock.

#[cfg(not(loom))]
mod imp {
    use crate::qsbr::{Seat, Shared};
    use std::cell::RefCell;
    use std::sync::{Arc, Weak};

    /// So many pins at once, of one domain or of several, find a seat that was kept.
    const KEPT_MAX: usize = 4;

    thread_local! {
        static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    }

    /// A seat in a domain, in one hand at a time: a guard's, or a thread's. It is given back when it is dropped.
    pub(in crate::qsbr) struct Kept {
        domain: Weak<Shared>,
        seat: Arc<Seat>,
    }

    impl Kept {
        /// This thread's seat in a domain, or a new one.
        #[inline]
        pub(in crate::qsbr) fn take(domain: &Arc<Shared>) -> Self {
            // While a thread ends there are no kept ones any more.
            let kept = KEPT.try_with(|kept| {
                let mut kept = kept.borrow_mut();
                let place = kept.iter().rposition(|kept| kept.domain.as_ptr() == Arc::as_ptr(domain))?;
                Some(kept.swap_remove(place))
            });
            match kept {
                Ok(Some(kept)) => kept,
                Ok(None) | Err(_) => Self { domain: Arc::downgrade(domain), seat: domain.sit_down() },
            }
        }

        /// Leaves the seat to this thread's next pin. Its reader has left.
        #[inline]
        pub(in crate::qsbr) fn keep(self) {
            let mut this = Some(self);
            let _ = KEPT.try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() == KEPT_MAX {
                    // Of a domain that has gone nothing runs here; this one's may, so it is dropped below.
                    kept.retain(|kept| kept.domain.strong_count() != 0);
                }
                if kept.len() < KEPT_MAX {
                    kept.extend(this.take());
                }
            });
        }

        #[inline]
        pub(in crate::qsbr) fn seat(&self) -> &Seat {
            &self.seat
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            if let Some(domain) = self.domain.upgrade() {
                domain.stand_up(&self.seat);
            }
        }
    }
}

/// The same without keeping any: what a model run makes must end with it.
#[cfg(loom)]
mod imp {
    use crate::primitives::Arc;
    use crate::qsbr::{Seat, Shared};

    pub(in crate::qsbr) struct Kept {
        domain: Arc<Shared>,
        seat: Arc<Seat>,
    }

    impl Kept {
        pub(in crate::qsbr) fn take(domain: &Arc<Shared>) -> Self {
            Self { domain: Arc::clone(domain), seat: domain.sit_down() }
        }

        pub(in crate::qsbr) fn keep(self) {}

        pub(in crate::qsbr) fn seat(&self) -> &Seat {
            &self.seat
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            self.domain.stand_up(&self.seat);
        }
    }
}

pub(super) use self::imp::Kept;
