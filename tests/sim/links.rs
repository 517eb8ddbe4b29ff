//! Links that are up, in virtual time: what waits is written, what arrives is read, and the end of the connection found
//! out. How a link comes up is [`crate::dial`]'s, and what follows from its end the link keeper's.

use limpet_core::drivers::links::keeper::Outcome;
use limpet_core::engine::InboundLink;
use limpet_core::replication::message::{self, Message};
use limpet_core::replication::position::StreamId;

use crate::host::name_of;
use crate::network::{ConnId, Flight, SOCKET_BYTES};
use crate::world::{Event, World};

/// How long after a packet that vanished the kernel sends it again, at the least and at the most.
const AGAIN_US: (u64, u64) = (1_000, 400_000);

impl World {
    /// Something waits for `to` on a stream.
    pub fn wake(&mut self, from: usize, to: usize, stream: StreamId) {
        if let Some(id) = self.hosts[from].links.get(&(to, stream)).copied() {
            self.wake_conn(id);
        }
    }

    /// The engine wants a link to `to` closed.
    pub fn close(&mut self, from: usize, to: usize, stream: StreamId) {
        if let Some(id) = self.hosts[from].links.get(&(to, stream)).copied() {
            self.after(0, Event::Broken(id));
        }
    }

    pub fn wake_conn(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if conn.up && !conn.write_due && conn.bytes < SOCKET_BYTES {
            conn.write_due = true;
            let after = self.draw.between(20, 120);
            self.after(after, Event::Write(id));
        }
    }

    /// A connection's writer runs.
    pub fn write(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        conn.write_due = false;
        let (from, to, stream) = (conn.from, conn.to, conn.stream);
        if !conn.up || self.hosts[from].epoch != conn.from_epoch || self.hosts[from].paused {
            return;
        }
        if conn.bytes >= SOCKET_BYTES {
            return; // woken when some of it has arrived
        }
        let peer = name_of(to);
        let mut changes = Vec::new();
        let messages = self
            .call(from, |engine, _| {
                let messages = engine.next_messages(&peer, stream);
                engine.next_changes(&peer, stream, &mut changes);
                messages
            })
            .unwrap_or_default();
        let wrote = !messages.is_empty() || !changes.is_empty();
        for message in messages {
            self.put(id, &message);
        }
        if !changes.is_empty() {
            match message::decode(&changes) {
                Ok(message) => self.numbers.sent(&message, changes.len()),
                Err(error) => self.fail("C11", format!("changes cannot be decoded: {error}")),
            }
            self.net.send(id, changes, self.now);
        }
        if wrote {
            self.schedule_delivery(id);
            self.wake_conn(id);
        }
    }

    fn put(&mut self, id: ConnId, message: &Message) {
        let bytes = match message::encode(message) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail("C11", format!("a message cannot be encoded: {error}")),
        };
        self.numbers.sent(message, bytes.len());
        let Message::Gossip(_) = message else {
            self.net.send(id, bytes, self.now);
            return;
        };
        // Membership takes its messages for datagrams.
        let weather = self.net.weather;
        if self.net.draw.chance(weather.gossip_loss) {
            return;
        }
        let late = self.net.conns.get_mut(&id).and_then(|conn| conn.held.take());
        if late.is_none() && self.net.draw.chance(weather.gossip_late) {
            if let Some(conn) = self.net.conns.get_mut(&id) {
                conn.held = Some(bytes);
            }
            return;
        }
        if self.net.draw.chance(weather.gossip_twice) {
            self.net.send(id, bytes.clone(), self.now);
        }
        self.net.send(id, bytes, self.now);
        if let Some(late) = late {
            self.net.send(id, late, self.now);
        }
    }

    /// Makes sure the head of a connection is looked at when it arrives.
    pub fn schedule_delivery(&mut self, id: ConnId) {
        let Some((from, to, head)) = self
            .net
            .conns
            .get(&id)
            .and_then(|conn| Some((conn.from, conn.to, conn.flights.front()?.at)))
        else {
            return;
        };
        if !self.net.passes(from, to) {
            return; // looked at again when the path changes
        }
        let mut at = head;
        if at < self.now {
            // It was held up; the kernel finds out when it tries again.
            at = self.now + self.net.draw.between(AGAIN_US.0, AGAIN_US.1);
        }
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if conn.deliver_due.is_none_or(|due| due < self.now || due > at) {
            conn.deliver_due = Some(at);
            self.after(at - self.now, Event::Deliver(id));
        }
    }

    /// What has arrived on a connection is read.
    pub fn deliver(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if conn.deliver_due == Some(self.now) {
            conn.deliver_due = None;
        }
        let (from, to, on, epoch, read) = (conn.from, conn.to, conn.on, conn.to_epoch, conn.read);
        if !self.net.passes(from, to) || self.hosts[to].paused {
            return;
        }
        let process = &self.hosts[to];
        if process.engine.is_none() || process.epoch != epoch || !read {
            return self.hang_up(id); // nobody has this connection any more, and its machine says so
        }
        let mut full = false;
        loop {
            let Some(conn) = self.net.conns.get_mut(&id) else {
                return;
            };
            let Some(Flight { bytes, .. }) = conn.flights.pop_front_if(|flight| flight.at <= self.now) else {
                break;
            };
            full |= conn.bytes >= SOCKET_BYTES;
            conn.bytes -= bytes.len();
            if !self.read(from, to, on, &bytes) {
                self.hang_up(id);
                return;
            }
            if self.failure.is_some() {
                return;
            }
        }
        let done = self
            .net
            .conns
            .get(&id)
            .is_some_and(|conn| !conn.up && conn.flights.is_empty());
        if done {
            self.net.conns.remove(&id);
            return;
        }
        if full {
            self.wake_conn(id);
        }
        self.schedule_delivery(id);
    }

    /// One message is read; says whether the link is still listened to.
    fn read(&mut self, from: usize, to: usize, on: InboundLink, bytes: &[u8]) -> bool {
        let message = match message::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.fail("C11", format!("a message cannot be decoded: {error}"));
                return false;
            }
        };
        self.trace
            .count(self.now, crate::report::kind(&message), from, to, 0);
        if self.verbose {
            println!(
                "  {:>11.6} n{from} to n{to}: {}",
                self.now as f64 / 1e6,
                crate::report::brief(&message)
            );
        }
        crate::check::before_message(self, to, &message);
        let peer = name_of(from);
        self.call(to, |engine, now| engine.on_message(&peer, on, message, now))
            .unwrap_or(false)
    }

    /// The acceptor closes the connection.
    fn hang_up(&mut self, id: ConnId) {
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.unread();
            self.send_end(id);
        }
    }

    /// The end of a connection that the acceptor closed goes to the dialler. Where the way back is cut, the kernel sends it
    /// again, so it is sent once the path has changed.
    pub fn send_end(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get(&id).filter(|conn| conn.up && !conn.read) else {
            return;
        };
        let (from, to) = (conn.from, conn.to);
        if self.net.passes(to, from) {
            let delay = self.net.delay(to, from);
            self.after(delay, Event::Broken(id));
        }
    }

    /// Every connection between the two is gone.
    pub fn break_between(&mut self, a: usize, b: usize) {
        let ids: Vec<ConnId> = self
            .net
            .conns
            .iter()
            .filter(|(_, conn)| (conn.from, conn.to) == (a, b) || (conn.from, conn.to) == (b, a))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| self.after(0, Event::Broken(id)));
    }

    /// The dialler finds out that its connection is gone.
    pub fn broken(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get(&id).filter(|conn| conn.up) else {
            return;
        };
        let (from, to, epoch, attempt) = (conn.from, conn.to, conn.from_epoch, conn.attempt);
        let host = &mut self.hosts[from];
        if host.epoch == epoch && host.paused {
            host.deferred.push_back(Event::Broken(id));
            return;
        }
        let alive = host.epoch == epoch && host.engine.is_some();
        self.drop_conn(id);
        if alive {
            self.trace.count(self.now, "link down", from, to, id);
            self.attempt_ended(from, attempt, Outcome::Closed { renew: false });
        }
    }

    /// The dialler's end of a connection is closed.
    pub fn drop_conn(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get(&id) else {
            return;
        };
        let (from, key) = (conn.from, (conn.to, conn.stream));
        self.tell(
            from,
            format_args!("link {id} to n{}, stream {}, is down", key.0, key.1),
        );
        self.net.cut_short(id);
        self.schedule_delivery(id);
        let links = &mut self.hosts[from].links;
        if links.get(&key) == Some(&id) {
            links.remove(&key);
        }
    }
}
