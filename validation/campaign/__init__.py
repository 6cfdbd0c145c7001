"""Tasks, where they run, and what is kept of them."""

from validation.campaign.former import Runner, Task, run_campaign

__all__ = ["Runner", "Task", "run_campaign"]
