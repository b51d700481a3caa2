"""Expert demonstrations: validated records of episodes, and their files."""

from rllib_amagail.demonstrations.bundled import bundled_path
from rllib_amagail.demonstrations.catalogue import Catalogue
from rllib_amagail.demonstrations.concatenation import concatenate
from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.past_turns import with_past_turns
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.demonstrations.recorder import DemonstrationRecorder

__all__ = [
    "AgentRecord",
    "Catalogue",
    "DemonstrationRecorder",
    "Demonstrations",
    "DemonstrationsError",
    "bundled_path",
    "concatenate",
    "with_past_turns",
]
