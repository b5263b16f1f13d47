// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ovs_meter`. No datapath has meters yet: FEATURES says that there is room for none, and no id is known.

use portway_messages::Refusal;
use portway_messages::meter::{MeterRequest, encode_features};
use portway_uapi::Errno;
use portway_uapi::openvswitch::*;

use crate::call::{Call, Handled};

/// Meters of a datapath, and bands of a meter, at most.
const METERS_MAX: u32 = 0;
const BANDS_MAX: u32 = 0;

fn decode<'a>(call: &mut Call<'a>) -> Result<MeterRequest<'a>, Refusal> {
    let mut request = MeterRequest::decode(&call.genl)?;
    call.warning = request.warning.take();
    Ok(request)
}

pub(crate) fn features(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    call.datapath(request.dp_ifindex)?;
    let dp_ifindex = request.dp_ifindex;
    let message =
        call.encode(OVS_METER_CMD_FEATURES, dp_ifindex, |b| encode_features(METERS_MAX, BANDS_MAX, b))?;
    call.reply(message);
    Ok(())
}

pub(crate) fn set(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    if request.id.is_none() {
        return Err(Errno::ENODEV.into());
    }
    call.datapath(request.dp_ifindex)?;
    Err(Errno::ENOSPC.into())
}

pub(crate) fn del(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    if request.id.is_none() {
        return Err(Errno::EINVAL.into());
    }
    call.datapath(request.dp_ifindex)?;
    // The kernel, too, answers with nothing when there was nothing.
    let message = call.encode(OVS_METER_CMD_DEL, request.dp_ifindex, |_| Ok(()))?;
    call.reply(message);
    Ok(())
}

pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let request = decode(call)?;
    if request.id.is_none() {
        return Err(Errno::EINVAL.into());
    }
    call.datapath(request.dp_ifindex)?;
    Err(Errno::ENOENT.into())
}
