# The loss in jq: jq -n -f jq_loss.jq FILE. Streams the records; keeps n, Σa, Σy and Σy² of each prompt,
# a the adjusted reward and y = a − α·k, so that Σ(y − ā)² = Σy² − 2·ā·Σy + n·ā².
# setpath, not |= or +=: in jq 1.6 those copy the whole object for every record.
def total: if type == "array" then add else . end;

reduce inputs as $record ({};
  ($record.reward - 0.01 * ([0, $record.response_length - 1024] | max)) as $a
  | ($a - 0.1 * (($record.log_prob | total) - ($record.old_log_prob | total))) as $y
  | $record.prompt_id as $id
  | (if has($id) then .[$id] else [0, 0, 0, 0] end) as [$n, $sum_a, $sum_y, $sum_yy]
  | setpath([$id]; [$n + 1, $sum_a + $a, $sum_y + $y, $sum_yy + $y * $y]))
| [.[]] as $prompts
| ([$prompts[] | .[0]] | add) as $responses
| ([$prompts[] | (.[1] / .[0]) as $baseline | .[3] - 2 * $baseline * .[2] + .[0] * $baseline * $baseline] | add)
  / $responses
