//! Drives the container engine of a host.
//!
//! Each operation is one request to the engine's API, or a few: in JSON, over
//! the HTTP authority `docker` that the admin grants. What the grant does not
//! allow, the host refuses before the engine sees it; the grants beside this
//! crate are made for reading, for the life cycle, and for creating without
//! more power than a container should have.
//!
//! [`engine`] knows how requests and answers look, [`description`] what a
//! container should be like in people's words; the other modules are the
//! operations.

mod capture;
mod container;
mod description;
mod engine;
mod ensure;
mod events;
mod image;
mod models;
mod network;
mod rancher;
mod run;
mod system;
#[cfg(test)]
mod testing;
mod volume;

use drover_sdk::plugin;

plugin!(
    container::list,
    container::inspect,
    container::top,
    container::changes,
    container::wait,
    container::prune,
    container::life_cycle::create,
    container::life_cycle::start,
    container::life_cycle::stop,
    container::life_cycle::restart,
    container::life_cycle::pause,
    container::life_cycle::unpause,
    container::life_cycle::kill,
    container::life_cycle::rename,
    container::life_cycle::update,
    container::life_cycle::remove,
    container::output::logs,
    container::stats::stats,
    container::stats::stats_live,
    container::exec::exec,
    container::exec::attach,
    container::archive::copy_in,
    container::archive::copy_out,
    ensure::ensure,
    ensure::absent,
    run::run,
    rancher::rancher_event,
    image::image_list,
    image::image_inspect,
    image::image_tag,
    image::image_remove,
    image::image_prune,
    image::build::image_build,
    image::transfer::image_pull,
    image::transfer::image_push,
    image::transfer::image_save,
    image::transfer::image_load,
    image::transfer::image_import,
    network::network_list,
    network::network_inspect,
    network::network_create,
    network::network_connect,
    network::network_disconnect,
    network::network_remove,
    network::network_prune,
    volume::volume_list,
    volume::volume_inspect,
    volume::volume_create,
    volume::volume_remove,
    volume::volume_prune,
    system::info,
    system::version,
    system::disk_use,
    system::events_between,
    events::events,
    capture::capture,
);
