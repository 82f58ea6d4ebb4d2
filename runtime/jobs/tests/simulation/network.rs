//! Messages under way. Any of them may be next, be lost, or come again.

use drover_api::{JobCancel, JobDelivered, JobDelivery, JobReport, JobReported, NodeId};

#[derive(Debug, Clone)]
pub(crate) enum Message {
    Deliver(NodeId, JobDelivery),
    Delivered(NodeId, JobDelivered),
    Cancel(NodeId, JobCancel),
    Report(JobReport),
    Reported(NodeId, String, JobReported),
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) under_way: Vec<Message>,
}

impl Network {
    pub(crate) fn send(&mut self, message: Message) {
        self.under_way.push(message);
    }
}
