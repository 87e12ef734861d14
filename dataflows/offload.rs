//! Runs slow work off the worker's thread while each request's capability is held:
//! the one operator that waits.
//!
//! ```text
//!  requests ──> queue ──(credits: count, bytes)──> Stage ··· any thread ··· Reply
//!                                                                             │
//!  (request, answer) <── capability by ticket <──────── bounded channel <─────┘ wakes the operator
//! ```
//!
//! Invariants:
//! - Every request is answered exactly once, at the time of its request: with the
//!   stage's answer, or with [`Failure::Lost`] if the stage dropped its [`Reply`].
//! - At most `in_flight_max` requests and about `in_flight_bytes_max` bytes are with
//!   the stage; a single larger request goes alone. What waits beyond that waits
//!   here, so whoever feeds the graph bounds it.
//! - Answers come in the order in which the stage gives them, not in request order.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::SyncActivator;

use crate::Epoch;

/// Why a request got no result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The stage tried and could not.
    Error(String),
    /// The stage did not finish within its time.
    Timeout,
    /// The stage panicked over this request.
    Panic(String),
    /// The stage gave the request up without an answer, as when it shut down.
    Lost,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(reason) => f.write_str(reason),
            Self::Timeout => f.write_str("timed out"),
            Self::Panic(reason) => write!(f, "panicked: {reason}"),
            Self::Lost => f.write_str("got no answer"),
        }
    }
}

pub type Answer<B> = Result<B, Failure>;

/// Something that answers each request, from any thread.
pub trait Stage<A, B> {
    fn submit(&mut self, request: A, reply: Reply<B>);
}

/// The right and the duty to answer one request.
pub struct Reply<B>(Option<Pending<B>>);

struct Pending<B> {
    ticket: u64,
    done: SyncSender<(u64, Answer<B>)>,
    wake: SyncActivator,
}

impl<B> Reply<B> {
    pub fn send(mut self, answer: Answer<B>) {
        self.answer(answer);
    }

    fn answer(&mut self, answer: Answer<B>) {
        if let Some(pending) = self.0.take() {
            // Errors mean that the dataflow has shut down: nobody waits. The
            // channel has room for every ticket, so this never blocks.
            let _ = pending.done.send((pending.ticket, answer));
            let _ = pending.wake.activate();
        }
    }
}

impl<B> Drop for Reply<B> {
    fn drop(&mut self) {
        self.answer(Err(Failure::Lost));
    }
}

/// How much may be with the stage at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub in_flight_max: usize,
    pub in_flight_bytes_max: usize,
}

/// What the operator keeps of requests: pure bookkeeping, generic in what keeps
/// the time open.
struct Ledger<C, A> {
    budget: Budget,
    waiting: VecDeque<(C, A, usize)>,
    in_flight: HashMap<u64, (C, A, usize)>,
    bytes: usize,
    last_ticket: u64,
}

impl<C, A: Clone> Ledger<C, A> {
    fn new(budget: Budget) -> Self {
        Self { budget, waiting: VecDeque::new(), in_flight: HashMap::new(), bytes: 0, last_ticket: 0 }
    }

    /// The next request that the budget admits, with its ticket.
    fn admit(&mut self) -> Option<(u64, A)> {
        let bytes = self.waiting.front()?.2;
        let alone = self.in_flight.is_empty();
        let fits = self.in_flight.len() < self.budget.in_flight_max
            && self.bytes + bytes <= self.budget.in_flight_bytes_max;
        if !alone && !fits {
            return None;
        }
        let entry = self.waiting.pop_front()?;
        let request = entry.1.clone();
        self.last_ticket += 1;
        self.bytes += bytes;
        self.in_flight.insert(self.last_ticket, entry);
        Some((self.last_ticket, request))
    }

    fn settle(&mut self, ticket: u64) -> (C, A) {
        let (held, request, bytes) = self.in_flight.remove(&ticket).expect("each ticket is answered once");
        self.bytes -= bytes;
        (held, request)
    }
}

/// Sends every request to `stage` and gives each back with its answer, at the
/// request's time. `bytes` says what a request weighs in the budget.
pub fn offload<'scope, A: Clone + 'static, B: Clone + 'static>(
    requests: StreamVec<'scope, Epoch, A>,
    name: &str,
    budget: Budget,
    bytes: impl Fn(&A) -> usize + 'static,
    mut stage: impl Stage<A, B> + 'static,
) -> StreamVec<'scope, Epoch, (A, Answer<B>)> {
    let scope = requests.scope();
    requests.unary(Pipeline, name, move |_cap, info| {
        let wake = scope.worker().sync_activator_for(info.address.to_vec());
        let (done, finished) = channel::<B>(budget);
        let mut ledger = Ledger::new(budget);
        move |input, output| {
            input.for_each(|cap, data| {
                let cap: Capability<Epoch> = cap.retain_least(0).expect("a message carries a time");
                let weighed = data.drain(..).map(|request| (cap.clone(), bytes(&request), request));
                ledger.waiting.extend(weighed.map(|(cap, bytes, request)| (cap, request, bytes)));
            });
            loop {
                while let Ok((ticket, answer)) = finished.try_recv() {
                    let (cap, request) = ledger.settle(ticket);
                    output.session(&cap).give((request, answer));
                }
                let Some((ticket, request)) = ledger.admit() else { break };
                let pending = Pending { ticket, done: done.clone(), wake: wake.clone() };
                stage.submit(request, Reply(Some(pending)));
            }
        }
    })
}

type Channel<B> = (SyncSender<(u64, Answer<B>)>, Receiver<(u64, Answer<B>)>);

/// Room for an answer to every ticket that can be out at once.
fn channel<B>(budget: Budget) -> Channel<B> {
    sync_channel(budget.in_flight_max.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use timely::dataflow::operators::capture::{Capture, Extract};
    use timely::dataflow::operators::{Input, Probe};

    const BUDGET: Budget = Budget { in_flight_max: 2, in_flight_bytes_max: 100 };

    /// Doubles on a thread of its own, but drops the reply to 13.
    struct Doubler;
    impl Stage<u64, u64> for Doubler {
        fn submit(&mut self, request: u64, reply: Reply<u64>) {
            std::thread::spawn(move || {
                if request != 13 {
                    reply.send(Ok(request * 2));
                }
            });
        }
    }

    #[test]
    fn answers_keep_the_time_of_their_request_and_a_dropped_reply_is_an_answer() {
        let captured = timely::execute_directly(|worker| {
            let (mut input, probe, captured) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (input, requests) = scope.new_input();
                let (probe, answers) = offload(requests, "Double", BUDGET, |_| 1, Doubler).probe();
                (input, probe, answers.capture())
            });
            for epoch in 0..3u64 {
                for request in [4, 13, 5, 6] {
                    input.send(request + epoch * 100);
                }
                input.advance_to(epoch + 1);
            }
            while probe.less_than(&3) {
                worker.step_or_park(Some(Duration::from_millis(500)));
            }
            captured
        });
        let mut got: Vec<(u64, u64, Answer<u64>)> = captured
            .extract()
            .into_iter()
            .flat_map(|(time, answers)| {
                answers.into_iter().map(move |(request, answer)| (time, request, answer))
            })
            .collect();
        got.sort_by_key(|(time, request, _)| (*time, *request));
        let mut expected = Vec::new();
        for epoch in 0..3u64 {
            for request in [4, 5, 6, 13].map(|r| r + epoch * 100) {
                let answer = if request == 13 { Err(Failure::Lost) } else { Ok(request * 2) };
                expected.push((epoch, request, answer));
            }
        }
        assert_eq!(got, expected);
    }

    #[test]
    fn the_budget_bounds_count_and_bytes_and_a_large_request_goes_alone() {
        let mut ledger = Ledger::new(BUDGET);
        for (request, bytes) in [("a", 60), ("b", 60), ("huge", 500), ("c", 1)] {
            ledger.waiting.push_back(((), request, bytes));
        }
        assert_eq!(ledger.admit(), Some((1, "a")));
        assert_eq!(ledger.admit(), None, "120 bytes are over the budget");
        ledger.settle(1);
        assert_eq!(ledger.admit(), Some((2, "b")));
        assert_eq!(ledger.admit(), None);
        ledger.settle(2);
        assert_eq!(ledger.admit(), Some((3, "huge")));
        assert_eq!(ledger.admit(), None);
        ledger.settle(3);
        assert_eq!(ledger.admit(), Some((4, "c")));
        assert_eq!(ledger.bytes, 1);
    }
}
