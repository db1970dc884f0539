"""The switch of OpenWhisk from one backend to the other, step by step."""

from migrator.operations.cutover.plan import Plan, read_plan
from migrator.operations.cutover.run import Actions, cut_over
from migrator.operations.cutover.state import StateOfCutover, read_state, state_path
from migrator.operations.cutover.steps import STEPS

__all__ = ["STEPS", "Actions", "Plan", "StateOfCutover", "cut_over", "read_plan", "read_state", "state_path"]
