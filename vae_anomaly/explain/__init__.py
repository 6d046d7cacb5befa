"""Why a row has its score, and what would make it normal."""
