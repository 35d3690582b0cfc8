//! The messages in the responses of servers: split from the bytes as they arrive, and read.

mod events;
mod members;

pub(crate) use self::events::{
    EventReader, Part, begins_like_events, data, data_after_first_line, with_data,
};
pub(crate) use self::members::Members;
