"""When an asset follows those it is made from."""

from dagster import AssetCheckKey, AssetKey, AutomationCondition
from dagster._core.storage.tags import PARTITION_NAME_TAG


def follow_each_day() -> AutomationCondition[AssetKey | AssetCheckKey]:
    """Whenever a day of a source was updated, that day; however long ago it was.

    It is Dagster's `eager()` but for six things, each of which lost or delayed days here:
    `in_latest_time_window` sees only today, and a phone may sync a week late; `newly_missing` asks
    for every asset each midnight; `any_deps_missing` stops whatever has two sources of which one
    sent nothing that day; `any_deps_in_progress` never lets anything run while a device sends all
    the time; and an update of a source during the asset's own run counts as handled there, so
    that here only a request resets it. Nor does it follow what was told without a run: the hot
    worker does itself what follows from that, and the runs that follow the landing publish it.
    """
    # It sees nothing in the tick that sees an instance's very first event, which is a run's start.
    by_run = AutomationCondition.any_new_update_has_run_tags(tag_keys={PARTITION_NAME_TAG})
    updated = AutomationCondition.newly_updated() & by_run
    changed = AutomationCondition.any_deps_match(
        (updated & ~AutomationCondition.executed_with_root_target())
        | AutomationCondition.will_be_requested()
    )
    handled = AutomationCondition.newly_requested() | AutomationCondition.initial_evaluation()
    return (changed.since(handled) & ~AutomationCondition.in_progress()).with_label(
        "follow_each_day"
    )
