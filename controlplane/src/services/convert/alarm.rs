//! Alarms.

use cluster::record::Alarm;
use proto::control::v1 as pb;

use super::time;

pub(crate) fn alarm(alarm: &Alarm) -> pb::Alarm {
    pb::Alarm {
        code: alarm.code.to_string(),
        message: alarm.message.to_string(),
        subject: alarm.subject.to_string(),
        raise_time: Some(time(alarm.since)),
    }
}
