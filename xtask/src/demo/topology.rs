// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The demo's network: who stands where.

use crate::world::Host;
use anyhow::Result;

/// The picture that the demo shows first.
pub(super) const PICTURE: &str = "
      h1          h2          h3          h4             v1          v2
   10.77.0.1   10.77.0.2   10.77.0.3   10.77.0.4     10.77.0.11  10.77.0.12
       |           |           |           |              |           |
     veth1       veth2       veth3     internal4       veth11      veth12
   +---+-----------+-----------+-----------+---+----------+-----------+---+
   |              no VLAN                      |    access ports, VLAN 20 |
   +---------------------------- bridge br0, portwayd --------------------+
";

/// The daemon's configuration for it.
pub(super) const CONFIG: &str = r#"[[bridge]]
name = "br0"
aging_s = 300

[[bridge.port]]
name = "veth1"

[[bridge.port]]
name = "veth2"

[[bridge.port]]
name = "veth3"

[[bridge.port]]
name = "internal4"
type = "internal"

[[bridge.port]]
name = "veth11"
access = 20

[[bridge.port]]
name = "veth12"
access = 20
"#;

/// How many ports the configuration names.
pub(super) const PORTS: usize = 6;

/// The name of the port that the daemon itself makes.
const INTERNAL: &str = "internal4";

/// All hosts.
pub(super) struct Hosts {
    /// Those without a VLAN.
    pub(super) plain: Vec<Station>,
    /// The pair in VLAN 20.
    pub(super) vlan: Vec<Station>,
}

/// A host and the port that it is behind.
pub(super) struct Station {
    pub(super) host: Host,
    pub(super) port: &'static str,
}

impl Hosts {
    /// The hosts on veth: before the switch starts.
    pub(super) fn on_veth() -> Result<Self> {
        let station = |number, name, port| {
            Ok::<_, anyhow::Error>(Station { host: Host::on_veth(number, name, port)?, port })
        };
        Ok(Self {
            plain: vec![station(1, "h1", "veth1")?, station(2, "h2", "veth2")?, station(3, "h3", "veth3")?],
            vlan: vec![station(11, "v1", "veth11")?, station(12, "v2", "veth12")?],
        })
    }

    /// The host on the internal port: once the switch has made the device.
    pub(super) fn add_internal(&mut self) -> Result<()> {
        let host = Host::on_device(4, "h4", INTERNAL)?;
        self.plain.push(Station { host, port: INTERNAL });
        Ok(())
    }
}
