//! One history: a controller, some nodes, and chance.

use std::collections::BTreeSet;

use drover_api::{Command, JobSubmit, NodeId, Retry, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::controller::Controller;
use crate::history::History;
use crate::network::{Message, Network};
use crate::node::Node;

/// Steps in which everything may go wrong.
const STEPS: u32 = 400;

/// Steps after which all must be over that was submitted.
const PATIENCE: u32 = 20_000;

pub(crate) struct World {
    chance: StdRng,
    now: Timestamp,
    controller: Controller,
    nodes: Vec<Node>,
    network: Network,
    history: History,
    submitted: u32,
    /// Nodes that are away for long, by place: nothing reaches them or comes from them.
    gone: BTreeSet<usize>,
    /// How often this world has crashes and losses, in percent.
    trouble: u32,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let count = chance.random_range(1..=4);
        Self {
            now: Timestamp(1_000_000),
            controller: Controller::new(),
            nodes: (1..=count).map(|nid| Node::new(NodeId::new(1, nid))).collect(),
            network: Network::default(),
            history: History::default(),
            submitted: 0,
            gone: BTreeSet::new(),
            trouble: chance.random_range(0..30),
            chance,
        }
    }

    pub(crate) fn run(mut self) -> History {
        self.join_all();
        for _ in 0..STEPS {
            self.step();
            self.history.judge_starts();
        }
        self.calm_down(true);
        self.gone.clear();
        self.calm_down(false);
        self.history.judge();
        for node in &self.nodes {
            assert_eq!(node.inbox.unsettled(), 0, "node {} keeps results", node.id);
        }
        self.history
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.chance.random_range(0..100) < percent
    }

    fn step(&mut self) {
        let trouble = self.trouble;
        match self.chance.random_range(0..13) {
            0 | 1 if self.submitted < 12 => self.submit(),
            2..=4 => self.pass_message(),
            5 => self.sync_controller(),
            6 | 7 => {
                let place = self.some_node();
                self.sync_node(place);
            }
            8 => self.time_passes(),
            9 => {
                let place = self.some_node();
                self.nodes[place].report(&mut self.network);
            }
            10 if self.happens(trouble) => {
                self.history.crashes += 1;
                if self.happens(40) {
                    self.controller.crash(self.now);
                    self.join_all();
                } else {
                    let place = self.some_node();
                    if self.happens(40) {
                        self.hand_over(place);
                    } else {
                        self.nodes[place].crash(self.now);
                    }
                    self.join(place);
                }
            }
            11 if self.happens(trouble) => {
                let place = self.some_node();
                self.leave(place);
                if self.happens(70) {
                    self.join(place);
                }
            }
            // Some stay away, and some of them come back.
            12 if self.happens(trouble) => {
                let place = self.some_node();
                if self.gone.remove(&place) {
                    self.join(place);
                } else {
                    self.gone.insert(place);
                    self.leave(place);
                }
            }
            _ => {}
        }
    }

    /// Another agent takes the place of a node's.
    fn hand_over(&mut self, place: usize) {
        let left = self.chance.random_range(0..3);
        while self.nodes[place].has_unsafe() {
            self.sync_node(place);
        }
        self.nodes[place].hand_over(left, &mut self.history, self.now);
    }

    fn some_node(&mut self) -> usize {
        self.chance.random_range(0..self.nodes.len())
    }

    fn leave(&mut self, place: usize) {
        let step = self.controller.ledger.node_left(self.nodes[place].id, self.now);
        self.controller.take(step);
    }

    fn join_all(&mut self) {
        for place in 0..self.nodes.len() {
            self.join(place);
        }
    }

    fn join(&mut self, place: usize) {
        if self.gone.contains(&place) {
            return;
        }
        let id = self.nodes[place].id;
        let step = self.controller.ledger.node_joined(id, self.now);
        self.controller.take(step);
        let again = self.nodes[place].inbox.report_again();
        self.nodes[place].take(again);
    }

    fn submit(&mut self) {
        self.submitted += 1;
        let count = self.chance.random_range(1..=self.nodes.len());
        let nodes: Vec<_> = self.nodes.iter().take(count).map(|node| node.id).collect();
        let mut request = JobSubmit::new(Command::new("a.b"), "*");
        request.command.id = format!("s{}", self.submitted).parse().unwrap();
        if self.happens(30) {
            request.at_once = Some(1);
        }
        if self.happens(40) {
            request.any = Some(1);
        }
        if self.happens(20) {
            request.start_within_ms = Some(self.chance.random_range(0..20_000));
        }
        if self.happens(20) {
            request.end_within_ms = Some(self.chance.random_range(0..40_000));
        }
        if self.happens(40) {
            request.retry = Retry { attempts: 3, first_wait_ms: 500, ..Retry::default() };
        }
        if self.happens(10) {
            request.spread_ms = 3000;
        }
        let id = request.command.id.clone();
        let now = self.now;
        self.controller.submit(request, &nodes, now).unwrap();
        if self.happens(15) {
            let node = self.happens(50).then(|| nodes[0]);
            let (step, _) = self.controller.ledger.kill(&id, node, false, "ada", now);
            self.controller.take(step);
        }
    }

    /// Some message arrives, or is lost, or arrives and will arrive again.
    fn pass_message(&mut self) {
        if self.network.under_way.is_empty() {
            return;
        }
        let trouble = self.trouble;
        let place = self.chance.random_range(0..self.network.under_way.len());
        let message = self.network.under_way.remove(place);
        if self.happens(trouble) || self.is_cut_off(&message) {
            self.history.lost += 1;
            return;
        }
        if self.happens(trouble) {
            self.history.doubled += 1;
            self.network.send(message.clone());
        }
        self.deliver(message);
    }

    fn is_cut_off(&self, message: &Message) -> bool {
        let node = match message {
            Message::Deliver(node, _)
            | Message::Cancel(node, _)
            | Message::Reported(node, ..)
            | Message::Delivered(node, _) => *node,
            Message::Report(report) => report.node,
        };
        self.gone.iter().any(|place| self.nodes[*place].id == node)
    }

    fn deliver(&mut self, message: Message) {
        let to = match &message {
            Message::Deliver(node, _) | Message::Cancel(node, _) | Message::Reported(node, ..) => {
                *node
            }
            Message::Delivered(..) | Message::Report(_) => {
                return self.controller.hear(message, self.now);
            }
        };
        let now = self.now;
        let node = self.nodes.iter_mut().find(|node| node.id == to).unwrap();
        node.hear(message, now);
    }

    fn sync_controller(&mut self) {
        let count = self.chance.random_range(1..=4);
        self.controller.sync(count, &mut self.network, &mut self.history, self.now);
    }

    fn sync_node(&mut self, place: usize) {
        let count = self.chance.random_range(1..=4);
        let length = self.chance.random_range(0..8000);
        let now = (self.now, length);
        self.nodes[place].sync(count, &mut self.network, &mut self.history, now);
    }

    fn time_passes(&mut self) {
        self.now = Timestamp(self.now.0 + self.chance.random_range(0..3000));
        let step = self.controller.ledger.tick(self.now);
        self.controller.take(step);
        let mut nodes: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        if self.happens(50) {
            nodes.reverse();
        }
        self.controller.move_on(&nodes, self.now);
        for place in 0..self.nodes.len() {
            let fails = self.happens(20);
            let node = &mut self.nodes[place];
            node.work(&mut self.history, self.now, fails);
            let step = node.inbox.tick(self.now);
            node.take(step);
        }
    }

    /// Nothing goes wrong any more, until everything is over; or all that can be, if
    /// some nodes `stay_away`.
    fn calm_down(&mut self, stay_away: bool) {
        self.trouble = 0;
        self.join_all();
        let mut since_quiet = 0;
        for _ in 0..PATIENCE {
            while let Some(message) = self.network.under_way.pop() {
                if !self.is_cut_off(&message) {
                    self.deliver(message);
                }
            }
            self.sync_controller();
            for place in 0..self.nodes.len() {
                self.sync_node(place);
                if !self.gone.contains(&place) {
                    self.nodes[place].report(&mut self.network);
                }
            }
            self.time_passes();
            let there = (0..self.nodes.len()).filter(|place| !self.gone.contains(place));
            let are_quiet = there
                .map(|place| &self.nodes[place])
                .all(|node| !node.has_unsafe() && node.inbox.unsettled() == 0);
            let is_quiet =
                are_quiet && self.network.under_way.is_empty() && !self.controller.has_unsafe();
            if is_quiet && self.controller.ledger.unfinished() == 0 {
                return;
            }
            // Everybody has had time to give up and to move on.
            since_quiet = if is_quiet { since_quiet + 1 } else { 0 };
            if stay_away && since_quiet > 100 {
                let ids: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
                let gone: BTreeSet<_> = self.gone.iter().map(|place| ids[*place]).collect();
                self.controller.judge_waiting(|node| !gone.contains(&node), &ids);
                return;
            }
            // A report that was lost is told again by the next session.
            if self.happens(2) {
                self.join_all();
            }
        }
        panic!("{} jobs have not ended: {:?}", self.controller.ledger.unfinished(), self.history);
    }
}
