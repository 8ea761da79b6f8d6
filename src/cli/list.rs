//! What the API lists, page after page, until there are as many as were asked for.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::Client;
use super::console::{Console, json_text};
use super::failure::Failure;
use super::query::query;

/// The API's largest page.
const PAGE_MAX: u32 = 1000;

/// Which items to list: the query's members in the API's words.
#[derive(Debug)]
pub struct List {
    pub query: Vec<(&'static str, String)>,
    /// No more than these.
    pub most: u32,
}

/// Some items, and where the next ones are.
#[derive(Deserialize, Debug)]
pub struct Page<I> {
    pub items: Vec<I>,
    pub next_cursor: Option<String>,
    /// How many there are of all, listed or not.
    #[serde(alias = "open")]
    in_force: Option<u64>,
}

/// What is to be shown.
pub struct Listed<I> {
    pub items: Vec<I>,
    /// How many there are of all, where the API counts them.
    pub in_force: Option<u64>,
}

impl List {
    /// What is at `path`. `None`: it was said as JSON already, an item a line.
    pub fn read<I: DeserializeOwned>(
        &self,
        path: &str,
        client: &Client,
        console: &Console,
    ) -> Result<Option<Listed<I>>, Failure> {
        let mut listed = Listed { items: Vec::new(), in_force: None };
        let mut cursor: Option<String> = None;
        let mut left = self.most as usize;
        loop {
            let mut members = self.query.clone();
            // The same on every page: a cursor belongs to its query.
            members.push(("limit", self.most.min(PAGE_MAX).to_string()));
            members.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let answer = client.read(&format!("{path}?{}", query(&members)))?;
            if console.json {
                let items = answer.raw.get("items").and_then(Value::as_array);
                let lines = items.into_iter().flatten().take(left).map(json_text);
                console.say_always(&lines.collect::<String>())?;
            }
            let page = answer.shown::<Page<I>>("the gateway")?;
            listed.in_force = page.in_force.or(listed.in_force);
            let count = page.items.len().min(left);
            left -= count;
            if !console.json {
                listed.items.extend(page.items.into_iter().take(count));
            }
            cursor = page.next_cursor;
            if cursor.is_none() || left == 0 {
                return Ok((!console.json).then_some(listed));
            }
        }
    }
}
