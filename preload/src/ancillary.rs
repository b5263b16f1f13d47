// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is told beside a message (cmsg(3)): of netlink's, only `struct nl_pktinfo`.

use libc::{cmsghdr, msghdr};

const HEADER: usize = size_of::<cmsghdr>();
/// Bytes of a `struct nl_pktinfo` with its header, and to the next one.
const LEN: usize = HEADER + size_of::<u32>();
const SPACE: usize = LEN.next_multiple_of(align_of::<cmsghdr>());

/// Tells the group, if that is wanted, in the message's room for such things; MSG_CTRUNC if there is not enough. Cut as the kernel
/// cuts it: whatever there is room for behind a whole header.
///
/// # Safety
/// `msg_control` is null or points to `msg_controllen` writable bytes.
pub(crate) unsafe fn give(message: &mut msghdr, packet_info: Option<u32>) {
    let room = if message.msg_control.is_null() { 0 } else { message.msg_controllen };
    message.msg_controllen = 0;
    let Some(group) = packet_info else { return };
    if room < HEADER {
        message.msg_flags |= libc::MSG_CTRUNC;
        return;
    }
    let len = LEN.min(room);
    if len < LEN {
        message.msg_flags |= libc::MSG_CTRUNC;
    }
    // SAFETY: zeros are a header.
    let mut header: cmsghdr = unsafe { std::mem::zeroed() };
    header.cmsg_len = len;
    header.cmsg_level = libc::SOL_NETLINK;
    header.cmsg_type = libc::NETLINK_PKTINFO;
    let group = group.to_ne_bytes();
    // SAFETY: the caller promises `room` bytes, which are a header and `len - HEADER` bytes at least; the header is written whatever the
    // place's alignment is.
    unsafe {
        message.msg_control.cast::<cmsghdr>().write_unaligned(header);
        let data = message.msg_control.cast::<u8>().add(HEADER);
        std::ptr::copy_nonoverlapping(group.as_ptr(), data, len - HEADER);
    }
    message.msg_controllen = SPACE.min(room);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the room, and what is written there.
    fn given(room: usize, packet_info: Option<u32>) -> (usize, i32, [u8; 32]) {
        let mut bytes = [0xee_u8; 32];
        // SAFETY: zeros are a message without parts.
        let mut message: msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = bytes.as_mut_ptr().cast();
        message.msg_controllen = room;
        // SAFETY: the array has at least that room.
        unsafe { give(&mut message, packet_info) };
        (message.msg_controllen, message.msg_flags, bytes)
    }

    #[test]
    fn it_is_cut_where_the_room_ends() {
        assert_eq!(given(32, None), (0, 0, [0xee; 32]));
        assert_eq!(given(15, Some(9)), (0, libc::MSG_CTRUNC, [0xee; 32]));
        let (len, flags, bytes) = given(24, Some(9));
        assert_eq!((len, flags), (24, 0));
        assert_eq!(bytes[..8], 20_usize.to_ne_bytes());
        assert_eq!(bytes[8..12], 270_i32.to_ne_bytes());
        assert_eq!(bytes[12..16], 3_i32.to_ne_bytes());
        assert_eq!((&bytes[16..20], &bytes[20..]), (&9_u32.to_ne_bytes()[..], &[0xee; 12][..]));
        let (len, flags, bytes) = given(18, Some(9));
        assert_eq!((len, flags, &bytes[18..]), (18, libc::MSG_CTRUNC, &[0xee; 14][..]));
        assert_eq!(bytes[..8], 18_usize.to_ne_bytes());
        // SAFETY: zeros are a message without parts.
        let mut message: msghdr = unsafe { std::mem::zeroed() };
        // SAFETY: it says that it has no room.
        unsafe { give(&mut message, Some(1)) };
        assert_eq!((message.msg_controllen, message.msg_flags), (0, libc::MSG_CTRUNC));
    }
}
