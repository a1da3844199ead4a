//! The inbox and the wake under loom: whatever order the threads run in, and whatever of each other's
//! stores they are allowed to see late.
//!
//! A wake-up that is lost leaves the model with a thread that sleeps for ever, and loom calls that a
//! deadlock. So many of these tests assert little: that they end is what they test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use loom::model::Builder;
use loom::sync::atomic::{self, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::{Alarm, Handle, Inbox, Port, SendError, inbox};

/// Loom's, but that `store` is a swap whose answer nobody reads. Loom leaves a store and a swap that do
/// not know of each other unordered for good, and lets a later swap overlook the store; in truth the
/// store comes after a swap that has not read it.
#[derive(Debug)]
pub(super) struct AtomicBool(atomic::AtomicBool);

impl AtomicBool {
    pub(super) fn new(value: bool) -> Self {
        Self(atomic::AtomicBool::new(value))
    }

    pub(super) fn load(&self, ordering: Ordering) -> bool {
        self.0.load(ordering)
    }

    pub(super) fn store(&self, value: bool, ordering: Ordering) {
        self.0.swap(value, ordering);
    }

    pub(super) fn swap(&self, value: bool, ordering: Ordering) -> bool {
        self.0.swap(value, ordering)
    }
}

/// Loom has none. A flag that says whether the value is there is what the standard library's has, too.
pub(super) struct OnceLock<T> {
    is_set: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(super) fn new() -> Self {
        Self { is_set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
    }

    pub(super) fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(super) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.is_set.store(true, Ordering::Release);
        Ok(())
    }
}

/// What a driver sleeps on: it remembers that it was woken until it is looked at.
struct Bed {
    woken: Mutex<bool>,
    wakes: Condvar,
    /// How often it was woken; loom need not know of it.
    count: AtomicUsize,
}

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.woken.lock().unwrap() = true;
        self.wakes.notify_one();
    }
}

/// A loop, as far as it concerns those who speak to it: `wait` and `deliver`.
struct Loop {
    bed: Arc<Bed>,
    alarm: Arc<Alarm>,
    more: bool,
    answers: usize,
    stopped: bool,
}

impl Loop {
    fn new() -> Self {
        let (woken, wakes) = (Mutex::new(false), Condvar::new());
        let bed = Arc::new(Bed { woken, wakes, count: AtomicUsize::new(0) });
        let alarm = Arc::new(Alarm::new(Arc::clone(&bed).into()));
        Self { bed, alarm, more: false, answers: 0, stopped: false }
    }

    fn attached<M>(capacity: usize) -> (Self, Handle<M>, Inbox<M>) {
        let (this, (handle, inbox)) = (Self::new(), inbox(capacity));
        inbox.attach(&this.alarm);
        (this, handle, inbox)
    }

    fn wakes(&self) -> usize {
        self.bed.count.load(Ordering::Relaxed)
    }

    /// Sleeps until it is woken, or only looks whether it was if there is more to do.
    fn wait(&self) {
        let mut woken = self.bed.woken.lock().unwrap();
        while !*woken && !self.more {
            woken = self.bed.wakes.wait(woken).unwrap();
        }
        *woken = false;
    }

    /// One turn. Whether it looked at what others have said.
    fn turn<M>(&mut self, inbox: &Inbox<M>, budget: usize, messages: &mut VecDeque<M>) -> bool {
        self.wait();
        let answer = self.alarm.answer();
        self.answers += usize::from(answer);
        let looks = answer || self.more;
        if looks {
            self.stopped |= self.alarm.take_stop();
            self.more = inbox.take(budget, messages);
        }
        looks
    }

    /// Turns until there are `count` messages.
    fn collect<M>(&mut self, inbox: &Inbox<M>, budget: usize, count: usize) -> Vec<M> {
        let mut messages = VecDeque::new();
        while messages.len() < count {
            self.turn(inbox, budget, &mut messages);
        }
        messages.into()
    }
}

/// A service of another loop, which is told when there is room.
struct Neighbour {
    life: Loop,
    port: Arc<Port>,
}

impl Neighbour {
    fn new() -> Self {
        let life = Loop::new();
        let port = Arc::new(Port::new(Arc::clone(&life.alarm)));
        Self { life, port }
    }

    /// Sends, and sleeps where there is no room until it is told that there is.
    fn send<M>(&mut self, handle: &Handle<M>, mut message: M) -> Result<(), SendError<M>> {
        loop {
            message = match handle.send_or_wait(message, &self.port) {
                Err(SendError::Full(message)) => message,
                result => return result,
            };
            loop {
                self.life.wait();
                if self.life.alarm.answer() && self.port.take_room() {
                    break;
                }
            }
        }
    }
}

/// All interleavings with at most `preemptions` switches that no thread asked for.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

fn is_in_order(messages: &[(char, u8)], sender: char, count: u8) -> bool {
    messages.iter().filter(|(who, _)| *who == sender).map(|(_, number)| *number).eq(0..count)
}

#[test]
fn no_message_is_left_with_a_loop_that_sleeps() {
    model(3, || {
        let (mut life, handle, inbox) = Loop::attached(8);
        let senders = [('a', 2), ('b', 1)].map(|(name, count)| {
            let handle = handle.clone();
            thread::spawn(move || (0..count).for_each(|n| handle.send((name, n)).unwrap()))
        });
        let messages = life.collect(&inbox, 2, 3);
        assert!(is_in_order(&messages, 'a', 2) && is_in_order(&messages, 'b', 1));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let mut messages = VecDeque::new();
        assert!(!inbox.take(9, &mut messages) && messages.is_empty(), "each once");
        assert!(life.wakes() <= life.answers + 1, "a wake for each answer");
    });
}

#[test]
fn many_messages_to_a_loop_that_does_not_answer_are_one_wake() {
    model(3, || {
        let (life, handle, inbox) = Loop::attached(8);
        let sender = {
            let handle = handle.clone();
            thread::spawn(move || [1, 2].map(|number| handle.send(number).unwrap()))
        };
        handle.send(3).unwrap();
        handle.stop();
        sender.join().unwrap();
        assert_eq!(life.wakes(), 1);
        assert!(life.alarm.answer() && life.alarm.take_stop());
        let mut messages = VecDeque::new();
        assert!(!inbox.take(8, &mut messages));
        assert_eq!(messages.len(), 3);
    });
}

#[test]
fn what_is_sent_while_the_inbox_is_given_to_its_loop_is_heard() {
    model(4, || {
        let (mut life, (handle, inbox)) = (Loop::new(), inbox(8));
        let senders = ['a', 'b'].map(|name| {
            let handle = handle.clone();
            thread::spawn(move || handle.send((name, 0)).unwrap())
        });
        inbox.attach(&life.alarm);
        assert_eq!(life.collect(&inbox, 8, 2).len(), 2);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_stop_is_heard_whether_there_is_a_loop_yet_or_not() {
    model(4, || {
        let (mut life, (handle, inbox)) = (Loop::new(), inbox::<u8>(8));
        let sender = {
            let handle = handle.clone();
            thread::spawn(move || handle.send(1).unwrap())
        };
        let stopper = thread::spawn(move || handle.stop());
        inbox.attach(&life.alarm);
        let mut messages = VecDeque::new();
        while !life.stopped || messages.is_empty() {
            life.turn(&inbox, 8, &mut messages);
        }
        stopper.join().unwrap();
        sender.join().unwrap();
        assert!(!life.alarm.take_stop(), "once");
    });
}

#[test]
fn nobody_who_waits_for_room_is_left_waiting() {
    model(3, || {
        let (mut life, handle, inbox) = Loop::attached(1);
        let senders = [('a', 2), ('b', 1)].map(|(name, count)| {
            let handle = handle.clone();
            thread::spawn(move || (0..count).for_each(|n| handle.send_blocking((name, n)).unwrap()))
        });
        let messages = life.collect(&inbox, 1, 3);
        assert!(is_in_order(&messages, 'a', 2) && is_in_order(&messages, 'b', 1));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn room_for_several_lets_several_go_on() {
    model(3, || {
        let (_, handle, inbox) = Loop::attached(2);
        handle.send(0).unwrap();
        handle.send(0).unwrap();
        let senders = [1, 2].map(|number| {
            let handle = handle.clone();
            thread::spawn(move || handle.send_blocking(number).unwrap())
        });
        let mut messages = VecDeque::new();
        inbox.take(2, &mut messages); // and no more: both must fit now
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        inbox.take(2, &mut messages);
        assert_eq!(messages.iter().sum::<i32>(), 3);
    });
}

#[test]
fn nobody_waits_for_room_in_an_inbox_that_closes() {
    model(3, || {
        let (_, handle, inbox) = Loop::attached(1);
        handle.send('x').unwrap();
        let senders = ['a', 'b'].map(|name| {
            let handle = handle.clone();
            thread::spawn(move || handle.send_blocking(name))
        });
        drop(inbox);
        for (sender, name) in senders.into_iter().zip(['a', 'b']) {
            assert_eq!(sender.join().unwrap(), Err(SendError::Closed(name)));
        }
        assert_eq!(handle.send('c'), Err(SendError::Closed('c')));
    });
}

#[test]
fn a_neighbour_that_met_a_full_inbox_is_told_when_there_is_room() {
    model(3, || {
        let (mut life, handle, inbox) = Loop::attached(1);
        let neighbour = {
            let handle = handle.clone();
            thread::spawn(move || {
                let mut neighbour = Neighbour::new();
                (0..2).for_each(|number| neighbour.send(&handle, ('a', number)).unwrap());
            })
        };
        let sender = thread::spawn(move || handle.send_blocking(('b', 0)).unwrap());
        let messages = life.collect(&inbox, 1, 3);
        assert!(is_in_order(&messages, 'a', 2) && is_in_order(&messages, 'b', 1));
        neighbour.join().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn a_neighbour_that_met_a_full_inbox_is_told_when_it_closes() {
    model(4, || {
        let (_, handle, inbox) = Loop::attached(1);
        handle.send(0).unwrap();
        let neighbour = thread::spawn(move || Neighbour::new().send(&handle, 1));
        drop(inbox);
        assert_eq!(neighbour.join().unwrap(), Err(SendError::Closed(1)));
    });
}

/// Who is woken by one sees what another said that found it woken already.
#[test]
fn a_neighbour_that_is_woken_by_a_message_sees_that_there_is_room_too() {
    model(3, || {
        let (mut life, own_handle, own_inbox) = Loop::attached(1);
        let port = Arc::new(Port::new(Arc::clone(&life.alarm)));
        let (_, handle, inbox) = Loop::attached(1);
        handle.send(0).unwrap();
        assert_eq!(handle.send_or_wait(1, &port), Err(SendError::Full(1)));
        let taker = thread::spawn(move || inbox.take(1, &mut VecDeque::new()));
        let sender = thread::spawn(move || own_handle.send(2).unwrap());
        let (mut messages, mut room) = (VecDeque::new(), false);
        while messages.is_empty() || !room {
            room |= life.turn(&own_inbox, 1, &mut messages) && port.take_room();
        }
        assert!(!taker.join().unwrap());
        sender.join().unwrap();
    });
}
