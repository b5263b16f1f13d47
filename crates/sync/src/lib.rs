// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the datapath's threads share, and how: data that is read per packet and changed now and then.
//!
//! * [`Domain`] (`qsbr`) decides when something unlinked may be freed: workers enter it once per batch.
//! * [`Snapshot`] is one published value, [`Slots`] a sparse array, [`Table`] a hash table: readers of all three
//!   take no lock and write nothing; writers take an inner mutex.
//! * [`Counters`] are per-worker 64-bit counters, summed when read.
//! * [`FairQueue`] carries misses from many ports to few readers without one port starving the others.
//!
//! # Who may block
//!
//! | call | takes | waits for |
//! |---|---|---|
//! | `Reader::enter`, dropping its guard | nothing: a load, a store, a fence; a store | nobody |
//! | `Snapshot::load`, `Slots::get`/`iter`, `Table::find`/`iter`/`resume` | nothing | nobody |
//! | `Local::add`, `Counters::sum` | nothing (first use of a worker's block allocates) | nobody |
//! | `FairQueue::push` | the mutex of that source, for one `VecDeque` operation | the reader of that source |
//! | `Domain::pin`, dropping its guard | as `Reader::enter`; the thread's first ones, and beyond a few at once: as `Domain::register` | |
//! | `Domain::register`, dropping that | the seats mutex, for O(1) | a scan of the seats |
//! | `publish`, `set`, `take`, `insert`, `remove`, ... | that structure's writer mutex, then the garbage mutex | other writers |
//! | `Domain::reclaim` | the garbage and seats mutexes, in turn; runs destructors with neither | never for readers |
//! | `Domain::synchronize` | as `reclaim` | **every reader that is inside**: never call it with a guard in hand |
//!
//! # Order of locks
//!
//! A writer mutex (`Slots`, `Table`, `Snapshot`) -> the domain's garbage mutex -> the domain's seats mutex. `FairQueue`:
//! its `drained` mutex -> a source's mutex. None of them is held while foreign code runs, with two exceptions that
//! say so in their own documentation: the predicates given to a table's writers, and `Snapshot::update`'s closure.
//!
//! **Destructors run only in [`Domain::reclaim`], [`Domain::synchronize`] and when the last handle of a domain goes.**
//! Retiring never runs one: a writer may hold any lock of its own when it publishes, and a destructor that wanted
//! that lock would deadlock. So whoever changes things calls `reclaim` after it has let its own locks go, and a
//! timer calls it while [`Domain::pending`] is not zero.
//!
//! The argument for the memory orderings is at the top of `qsbr.rs`; that of the table's list at the top of `table.rs`.

mod counters;
mod error;
mod fair_queue;
mod primitives;
mod qsbr;
mod slots;
mod snapshot;
#[cfg(all(test, not(loom)))]
mod stress;
mod table;

pub use counters::{Counters, Local};
pub use error::Error;
pub use fair_queue::{FairQueue, Limits, Waker};
pub use qsbr::{Domain, Guard, Reader};
pub use slots::Slots;
pub use snapshot::Snapshot;
pub use table::{Cursor, Table};
