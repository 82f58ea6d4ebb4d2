//! Generated from `wit/`: the types and traits of the plugin contract.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "operations-plugin",
    imports: {
        "drover:plugin/config": async,
        "drover:plugin/job.progress": async,
        "drover:plugin/log": async,
        "drover:plugin/state": async,
        "drover:plugin/sysinfo": async,
    },
    exports: { default: async },
});
