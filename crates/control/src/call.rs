// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request in the hands of its handler: who asks, what, and the ways to answer.

use portway_datapath::{Event, Netns, Switch};
use portway_messages::Refusal;
use portway_messages::family::Family;
use portway_netlink::{AttrBuilder, Datagram, Error, ExtAck, GenlMessage, Header, Message};
use portway_uapi::openvswitch::ovs_header;
use std::sync::Arc;

use crate::client::Queued;
use crate::server::{ClientId, Server};

/// The most bytes that a message may have.
pub(crate) const MESSAGE_MAX: usize = 256 << 10;

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a mut Server,
    pub(crate) client: ClientId,
    pub(crate) port_id: u32,
    pub(crate) netns: Netns,
    pub(crate) family: &'static Family,
    pub(crate) message: Message<'a>,
    pub(crate) genl: GenlMessage<'a>,
    pub(crate) now_ns: u64,
    /// What the kernel warns of although the request may succeed.
    pub(crate) warning: Option<ExtAck>,
}

/// The result of a handler.
pub(crate) type Handled = Result<(), Refusal>;

impl Call<'_> {
    /// The switch.
    pub(crate) fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.server.switch)
    }

    fn header(&self, flags: u16) -> Header {
        Header::reply_to(self.message.header(), self.port_id, self.family.id, flags)
    }

    /// One message of the family, as bytes.
    pub(crate) fn encode(
        &self,
        cmd: u8,
        dp_ifindex: i32,
        fill: impl FnOnce(&mut AttrBuilder<'_>) -> Result<(), Error>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut datagram = Datagram::new(MESSAGE_MAX);
        datagram.genl(self.header(0), cmd, self.family.version, &ovs_header { dp_ifindex }, fill)?;
        Ok(datagram.into_bytes())
    }

    /// Answers the requester.
    pub(crate) fn reply(&mut self, message: Vec<u8>) {
        self.server.push(self.client, Queued::answer(message));
    }

    /// Tells the family's group of a change, and the requester if it asked for that with `NLM_F_ECHO`.
    pub(crate) fn notify(&mut self, message: Vec<u8>) {
        let echo = self.message.wants_echo();
        let left_out = echo.then_some(self.client);
        self.server.multicast(self.family, self.netns.id(), &message, left_out);
        if echo {
            // As in the kernel, its own copy says for which group it was made, too.
            let group = if let [group] = self.family.groups { group.id } else { 0 };
            self.server.push(self.client, Queued::answer(message).of_group(group));
        }
    }

    /// Whether a notification would be heard by anybody.
    pub(crate) fn must_notify(&self) -> bool {
        self.message.wants_echo() || self.server.has_listeners(self.family, self.netns.id())
    }

    /// Events of this request's own changes: its notification has been sent.
    pub(crate) fn forget_event(&mut self, own: impl Fn(&Event) -> bool) {
        let events: Vec<Event> = self.server.events().try_iter().collect();
        for event in events.iter().filter(|event| !own(event)) {
            self.server.handle_event(event);
        }
    }
}
