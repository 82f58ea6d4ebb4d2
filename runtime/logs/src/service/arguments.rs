//! The arguments of questions, as callers write them.

use drover_api::{JobId, NodeId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::ServiceError;
use crate::fields::FieldCondition;
use crate::level_set::LevelSet;
use crate::store::{Cursor, Filter, Order, Query, RecordId, Start};

/// Declares a struct of arguments that begins with the conditions that all of
/// them share. They are written flat, which serde's `flatten` cannot do
/// together with the refusal of unknown names.
macro_rules! with_conditions {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Records of this job.
            #[schemars(with = "Option<String>")]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub job: Option<JobId>,
            /// Records of jobs with this domain; for an operation of a plugin, the
            /// plugin's name.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub domain: Option<String>,
            /// Records of jobs with this name; for an operation, its name.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub name: Option<String>,
            /// Records of these levels, such as 1,2,7-9.
            #[schemars(with = "Option<LevelText>")]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub levels: Option<LevelSet>,
            /// Records of this time or later, in milliseconds since 1970 (below 10^11: seconds).
            #[serde(skip_serializing_if = "Option::is_none")]
            pub from: Option<u64>,
            /// Records before this time, in milliseconds since 1970 (below 10^11: seconds).
            #[serde(skip_serializing_if = "Option::is_none")]
            pub until: Option<u64>,
            /// Records in which this text occurs.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub text: Option<String>,
            /// Records whose fields fulfil all of these conditions, such as status>=500 or
            /// host=web-1: NAME, one of = != < <= > >= ~ (contains), and a value.
            #[schemars(with = "OneOrMore")]
            #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
            pub fields: Vec<FieldCondition>,
            /// Records that were written after the one with this id.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub after: Option<u32>,
            /// Records that this node sent, <gid>.<nid>, in a controller's log.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub node: Option<String>,
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $name {
            /// The conditions, as the store has them.
            fn conditions(&self) -> Result<Filter, ServiceError> {
                let node = self.node.as_deref().map(str::parse::<NodeId>).transpose();
                Ok(Filter {
                    job: self.job.clone(),
                    domain: self.domain.clone(),
                    name: self.name.clone(),
                    levels: self.levels.unwrap_or(LevelSet::ALL),
                    from: self.from.map(time),
                    until: self.until.map(time),
                    text: self.text.clone(),
                    fields: self.fields.clone(),
                    after: self.after.map(RecordId),
                    node: node.map_err(|error| ServiceError::Invalid(error.to_string()))?,
                })
            }
        }
    };
}

with_conditions! {
    /// What a query asks for: records that fulfil all conditions.
    pub struct QueryArguments {
        /// Which records come first.
        pub order: OrderName,
        /// How many records at most; 1000 by default.
        #[schemars(range(min = 1, max = 10_000))]
        #[serde(skip_serializing_if = "Option::is_none")]
        pub limit: Option<usize>,
        /// Where an earlier answer to the same question ended: its `next`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub cursor: Option<String>,
    }
}

with_conditions! {
    /// Which records are to be deleted: those that fulfil all conditions.
    pub struct DeleteArguments {}
}

with_conditions! {
    /// Which records are followed, and from where on: now, unless `after` or
    /// `backlog` say otherwise.
    pub struct FollowArguments {
        /// How many of the newest records that are there to begin with.
        #[schemars(range(max = 10_000))]
        #[serde(skip_serializing_if = "Option::is_none")]
        pub backlog: Option<usize>,
    }
}

/// A set of levels as it is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only describes what `LevelSet` reads")]
enum LevelText {
    Set(String),
    Level(u8),
}

/// Reads one condition, or a list.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<FieldCondition>, D::Error> {
    let text = match OneOrMore::deserialize(from)? {
        OneOrMore::One(text) => vec![text],
        OneOrMore::All(texts) => texts,
    };
    text.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

/// Conditions as they are written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    All(Vec<String>),
}

/// Which records of an answer come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OrderName {
    /// The last ones.
    #[default]
    Newest,
    /// The first ones.
    Oldest,
}

/// The most records of one answer.
const MAX_LIMIT: usize = 10_000;

impl QueryArguments {
    pub(super) fn query(&self) -> Result<Query, ServiceError> {
        let cursor = self.cursor.as_deref().map(str::parse::<Cursor>).transpose();
        Ok(Query {
            filter: self.conditions()?,
            order: match self.order {
                OrderName::Newest => Order::Newest,
                OrderName::Oldest => Order::Oldest,
            },
            limit: self.limit.unwrap_or(Query::LIMIT).min(MAX_LIMIT),
            cursor: cursor.map_err(|error| ServiceError::Invalid(error.to_string()))?,
        })
    }
}

impl DeleteArguments {
    pub(super) fn filter(&self) -> Result<Filter, ServiceError> {
        if *self == Self::default() {
            return Err(ServiceError::Invalid(
                "without a condition everything would be deleted: say which records, or \
                 `levels=*` for all"
                    .to_owned(),
            ));
        }
        self.conditions()
    }
}

impl FollowArguments {
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    pub(super) fn start(&self) -> Result<(Filter, Start), ServiceError> {
        let start = match (self.after, self.backlog) {
            (Some(id), _) => Start::After(RecordId(id)),
            (None, Some(count)) => Start::Backlog(count.min(MAX_LIMIT)),
            (None, None) => Start::Now,
        };
        Ok((Filter { after: None, ..self.conditions()? }, start))
    }
}

/// Old clients give seconds: as milliseconds they would be in spring 1973 at
/// the latest.
fn time(number: u64) -> Timestamp {
    const FIRST_MILLISECONDS: u64 = 100_000_000_000;
    Timestamp(if number < FIRST_MILLISECONDS { number * 1000 } else { number })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_argument_is_read_and_others_are_refused() {
        let all = json!({
            "job": "j", "domain": "d", "name": "n", "levels": "7-9", "from": 1_447_000_000,
            "until": 1_447_000_000_001_u64, "text": "t", "fields": ["a>=1", "b~c"], "after": 3, "node": "1.7",
            "order": "oldest", "limit": 5, "cursor": "7",
        });
        let query: QueryArguments = serde_json::from_value(all.clone()).unwrap();
        assert_eq!(serde_json::to_value(&query).unwrap(), all);
        let query = query.query().unwrap();
        assert_eq!(query.filter.from, Some(Timestamp(1_447_000_000_000)), "seconds");
        assert_eq!(query.filter.until, Some(Timestamp(1_447_000_000_001)), "milliseconds");
        assert_eq!((query.order, query.limit), (Order::Oldest, 5));
        for json in [json!({ "jbo": "j" }), json!({ "levels": "9-7" }), json!({ "order": "up" })] {
            assert!(serde_json::from_value::<QueryArguments>(json).is_err());
        }
        for json in [json!({ "node": "seven" }), json!({ "cursor": "x" })] {
            let query: QueryArguments = serde_json::from_value(json).unwrap();
            assert!(matches!(query.query(), Err(ServiceError::Invalid(_))));
        }
    }

    #[test]
    fn after_says_where_to_begin_and_is_no_condition() {
        let arguments = FollowArguments { after: Some(7), backlog: Some(5), ..Default::default() };
        let (filter, start) = arguments.start().unwrap();
        assert_eq!((filter.after, start), (None, Start::After(RecordId(7))));
    }
}
