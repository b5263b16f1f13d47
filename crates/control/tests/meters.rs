// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Meter requests at random, in memory: whatever comes, the answer is one of the kernel's, and what is there is what a plain model says.

use std::collections::BTreeMap;

use portway_control::{ClientId, Delivery, Limits, NoDevices, Peer, Queued, Server};
use portway_messages::family::METER;
use portway_netlink::{AttrBuilder, Attrs, Datagram, Error, Header, Messages};
use portway_testkit::Bench;
use portway_uapi::Errno;
use portway_uapi::netlink::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR};
use portway_uapi::openvswitch::*;
use proptest::prelude::*;

/// Places of a table of fewer than 1,024 meters.
const PLACES: u32 = 1024;

struct World {
    bench: Bench,
    server: Server,
    client: ClientId,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        let mut server = Server::new(bench.switch.clone(), Limits::default(), Box::new(NoDevices));
        let peer = Peer { netns: bench.datapath.netns().clone(), admin: true };
        let client = server.connect(peer, 0).expect("room for a client");
        Self { bench, server, client }
    }

    /// The errno, and the attributes of the reply if there is one.
    fn ask(&mut self, cmd: u8, fill: impl FnOnce(&mut AttrBuilder<'_>)) -> (i32, Option<Vec<u8>>) {
        let header = Header { kind: METER.id, flags: NLM_F_REQUEST | NLM_F_ACK, seq: 1, pid: 0 };
        let dp_ifindex = self.bench.datapath.port(0).expect("its own port").ifindex() as i32;
        let mut datagram = Datagram::new(1 << 18);
        let written = datagram.genl::<_, Error>(header, cmd, 1, &ovs_header { dp_ifindex }, |b| {
            fill(b);
            Ok(())
        });
        written.expect("a request fits");
        self.server.handle_datagram(self.client, datagram.bytes(), 5_000_000);
        let (mut errno, mut reply) = (None, None);
        while let Some(Delivery::Datagram(Queued { bytes, .. })) = self.server.next_datagram(self.client) {
            for message in Messages::new(&bytes) {
                if message.header().nlmsg_type == NLMSG_ERROR {
                    let code = message.payload().first_chunk().expect("an error number");
                    assert!(errno.replace(-i32::from_ne_bytes(*code)).is_none(), "one acknowledgement");
                } else {
                    // Behind the two headers.
                    assert!(reply.replace(message.payload()[8..].to_vec()).is_none(), "one reply");
                }
            }
        }
        (errno.expect("an acknowledgement"), reply)
    }
}

/// A band's TYPE, RATE and BURST.
type Band = (u32, Option<u32>, Option<u32>);

/// A SET's parts, good and bad.
#[derive(Clone, Debug)]
struct Wish {
    id: Option<u32>,
    clear: bool,
    bands: Option<Vec<Band>>,
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..6, (0u32..3).prop_map(|n| n + PLACES), Just(u32::MAX)]
}

fn wish() -> impl Strategy<Value = Wish> {
    let value = || prop_oneof![8 => (1u32..100).prop_map(Some), 1 => Just(Some(0)), 1 => Just(None)];
    let band = (0u32..3, value(), value());
    let bands = prop::option::weighted(0.9, prop::collection::vec(band, 0..3));
    (prop::option::weighted(0.9, id()), any::<bool>(), bands).prop_map(|(id, clear, bands)| Wish {
        id,
        clear,
        bands,
    })
}

/// What the kernel says of a wish, apart from its place being taken.
fn verdict(wish: &Wish) -> Errno {
    let good = |&(_, rate, burst): &Band| rate.is_some_and(|rate| rate != 0) && burst.is_some();
    let fits = wish.bands.as_ref().is_some_and(|bands| bands.len() <= 1 && bands.iter().all(good));
    if wish.id.is_some() && fits { Errno(0) } else { Errno::EINVAL }
}

fn put(wish: &Wish, b: &mut AttrBuilder<'_>) -> Result<(), Error> {
    if let Some(id) = wish.id {
        b.put_u32(OVS_METER_ATTR_ID, id)?;
    }
    if wish.clear {
        b.put_flag(OVS_METER_ATTR_CLEAR)?;
    }
    let Some(bands) = &wish.bands else { return Ok(()) };
    b.nest::<Error>(OVS_METER_ATTR_BANDS, |b| {
        for (kind, rate, burst) in bands {
            b.nest::<Error>(1, |b| {
                b.put_u32(OVS_BAND_ATTR_TYPE, *kind)?;
                rate.map_or(Ok(()), |rate| b.put_u32(OVS_BAND_ATTR_RATE, rate))?;
                burst.map_or(Ok(()), |burst| b.put_u32(OVS_BAND_ATTR_BURST, burst))
            })?;
        }
        Ok(())
    })
}

fn kinds(reply: Option<&[u8]>) -> Vec<u16> {
    reply.map_or(vec![], |bytes| Attrs::new(bytes).map(|attr| attr.kind()).collect())
}

const TOLD: [u16; 4] = [OVS_METER_ATTR_ID, OVS_METER_ATTR_STATS, OVS_METER_ATTR_USED, OVS_METER_ATTR_BANDS];

#[derive(Clone, Debug)]
enum Step {
    Set(Wish),
    Get(u32),
    Del(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => wish().prop_map(Step::Set), 2 => id().prop_map(Step::Get), 1 => id().prop_map(Step::Del)]
}

proptest! {
    #[test]
    fn a_table_is_what_a_plain_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        // By place: the id, and whether the meter forgets its statistics.
        let mut model: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
        for step in steps {
            let here = |model: &BTreeMap<u32, (u32, bool)>, id: u32| {
                model.get(&(id % PLACES)).copied().filter(|(there, _)| *there == id)
            };
            match step {
                Step::Set(wish) => {
                    let (errno, reply) = world.ask(OVS_METER_CMD_SET, |b| put(&wish, b).expect("it fits"));
                    let (Errno(0), Some(id)) = (verdict(&wish), wish.id) else {
                        prop_assert_eq!((errno, reply), (Errno::EINVAL.0, None));
                        continue;
                    };
                    let old = here(&model, id);
                    if old.is_none() && model.contains_key(&(id % PLACES)) {
                        prop_assert_eq!((errno, reply), (Errno::EBUSY.0, None));
                        continue;
                    }
                    let mut expected = vec![OVS_METER_ATTR_ID];
                    if old.is_some_and(|(_, forgets)| !forgets) {
                        expected.extend(TOLD);
                    }
                    prop_assert_eq!((errno, kinds(reply.as_deref())), (0, expected));
                    model.insert(id % PLACES, (id, wish.clear));
                }
                Step::Get(id) => {
                    let (errno, reply) = world.ask(OVS_METER_CMD_GET, |b| b.put_u32(OVS_METER_ATTR_ID, id).expect("it fits"));
                    let expected = if here(&model, id).is_some() { (0, TOLD.to_vec()) } else { (Errno::ENOENT.0, vec![]) };
                    prop_assert_eq!((errno, kinds(reply.as_deref())), expected);
                }
                Step::Del(id) => {
                    let (errno, reply) = world.ask(OVS_METER_CMD_DEL, |b| b.put_u32(OVS_METER_ATTR_ID, id).expect("it fits"));
                    let expected = if here(&model, id).is_some() { TOLD.to_vec() } else { vec![] };
                    prop_assert_eq!((errno, reply.is_some(), kinds(reply.as_deref())), (0, true, expected.clone()));
                    if !expected.is_empty() {
                        model.remove(&(id % PLACES));
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_at_random_are_answered(
        cmd in 1u8..5,
        attrs in prop::collection::vec((0u16..12, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let mut world = World::new();
        let (errno, _) = world.ask(cmd, |b| {
            for (kind, payload) in &attrs {
                b.put(*kind, payload).expect("it fits");
            }
        });
        let known = [Errno(0), Errno::EINVAL, Errno::ERANGE, Errno::ENOENT];
        prop_assert!(known.contains(&Errno(errno)), "{errno}");
    }
}
