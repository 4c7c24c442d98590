"""The names of transformers' `TrainingArguments` (5.23), so that `training.extra` is checked without importing it.

Importing that class costs some ten CPU seconds; a test compares this table with it.
"""

FIELDS = frozenset(
    """
    accelerator_config activation_checkpointing activation_checkpointing_kwargs adam_beta1 adam_beta2
    adam_epsilon auto_find_batch_size average_tokens_across_devices batch_eval_metrics bf16 bf16_full_eval
    data_seed dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context dataloader_num_workers
    dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor ddp_backend
    ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout debug
    deepspeed disable_tqdm do_eval do_predict do_train enable_jit_checkpoint eval_accumulation_steps eval_delay
    eval_do_concat_batches eval_on_start eval_steps eval_strategy eval_use_gather_object fp16 fp16_full_eval
    fsdp fsdp_config full_determinism gradient_accumulation_steps gradient_checkpointing
    gradient_checkpointing_kwargs greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision
    hub_strategy hub_token ignore_data_skip include_for_metrics include_num_input_tokens_seen label_names
    label_smoothing_factor learning_rate length_column_name liger_kernel_config load_best_model_at_end
    local_rank log_level log_level_replica log_on_each_node logging_first_step logging_nan_inf_filter
    logging_steps logging_strategy lr_scheduler_kwargs lr_scheduler_type max_grad_norm max_steps
    metric_for_best_model neftune_noise_alpha num_train_epochs optim optim_args optim_target_modules output_dir
    parallelism_config per_device_eval_batch_size per_device_train_batch_size prediction_loss_only project
    push_to_hub remove_unused_columns report_to restore_callback_states_from_checkpoint resume_from_checkpoint
    run_name save_on_each_node save_only_model save_steps save_strategy save_total_limit seed
    skip_memory_metrics tf32 torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps
    trackio_bucket_id trackio_space_id trackio_static_space_id train_sampling_strategy use_cache use_cpu
    use_liger_kernel warmup_steps weight_decay
    """.split()
)
# Said elsewhere in a recipe, or decided by the loop: a second value for them would have to be ignored.
DECIDED = {
    "output_dir": "write `output_dir` at the top level",
    "seed": "write `seed` at the top level",
    "data_seed": "write `seed` at the top level",
    "resume_from_checkpoint": "leave it out: a stage goes on from its last checkpoint by itself",
    "gradient_checkpointing": "write `gradient_checkpointing` under `training`",
    "activation_checkpointing": "write `gradient_checkpointing` under `training` (its name before transformers 5)",
    "warmup_steps": "write `warmup_ratio` under `training`: the share of all steps",
    "eval_strategy": "write `eval_steps` under `training`",
    "save_strategy": "write `save_steps` under `training`",
    "logging_strategy": "write `logging_steps` under `training`",
    "use_cpu": "leave it out: a GPU is used where there is one (CUDA_VISIBLE_DEVICES= hides it)",
    "label_smoothing_factor": "leave it out: the losses here have no such term",
    "ignore_data_skip": "leave it out: a run that goes on sees the rows it would have seen",
    "save_only_model": "leave it out: a run could not go on from such a checkpoint",
    "save_on_each_node": "leave it out: one process writes for all",
    "restore_callback_states_from_checkpoint": "leave it out: a run always goes on from its whole state",
    "logging_nan_inf_filter": "leave it out: a loss that is not a number ends the run",
    "average_tokens_across_devices": "leave it out: every token weighs the same on all devices",
    "include_num_input_tokens_seen": "leave it out: tokens are counted in log.jsonl",
    "remove_unused_columns": "leave it out: a stage takes the columns it needs",
    "disable_tqdm": "leave it out: one line shows the progress",
    "skip_memory_metrics": "leave it out: the manifest has the peak of memory",
    "accelerator_config": "leave it out: the loop shares out rows and counts accumulation by itself",
    "dataloader_drop_last": "leave it out: no row is dropped",
    "length_column_name": "leave it out: rows are as long as their input_ids",
}
_UNUSED = """
    batch_eval_metrics do_eval do_predict do_train eval_accumulation_steps eval_do_concat_batches
    eval_use_gather_object include_for_metrics label_names prediction_loss_only log_on_each_node bf16_full_eval
    fp16_full_eval
"""
_LOADER = "dataloader_in_order dataloader_multiprocessing_context"
_TRACKING = "run_name project trackio_bucket_id trackio_space_id trackio_static_space_id"
_HUB = "push_to_hub hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token"
DECIDED |= dict.fromkeys(_UNUSED.split(), "leave it out: it belongs to an evaluation loop that is not used here")
DECIDED |= dict.fromkeys(_HUB.split(), "leave it out: nothing is sent to a hub")
DECIDED |= dict.fromkeys(_LOADER.split(), "leave it out: rows come in an order that the seed decides")
DECIDED |= dict.fromkeys(_TRACKING.split(), "leave it out: trackers get what log.jsonl says, under the stage's name")
