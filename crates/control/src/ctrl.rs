// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `nlctrl`: GETFAMILY.

use portway_messages::Refusal;
use portway_messages::ctrl::{CtrlRequest, encode_family};
use portway_messages::family::{Family, family_by_id, family_by_name};
use portway_netlink::{Datagram, Header};
use portway_uapi::Errno;
use portway_uapi::genetlink::CTRL_CMD_NEWFAMILY;

use crate::call::{Call, Handled, MESSAGE_MAX};

/// The family that a request means.
pub(crate) fn find(request: &CtrlRequest<'_>) -> Result<&'static Family, Refusal> {
    let by_id = request.family_id.map(family_by_id);
    let by_name = request.family_name.map(family_by_name);
    let found = by_name.or(by_id).ok_or(Errno::EINVAL)?;
    found.ok_or(Errno::ENOENT.into())
}

pub(crate) fn get_family(call: &mut Call<'_>) -> Handled {
    let mut request = CtrlRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    let family = find(&request)?;
    let mut datagram = Datagram::new(MESSAGE_MAX);
    let header = Header::reply_to(call.message.header(), call.port_id, call.family.id, 0);
    datagram.genl(header, CTRL_CMD_NEWFAMILY, call.family.version, &(), |b| encode_family(family, b))?;
    call.reply(datagram.into_bytes());
    Ok(())
}
