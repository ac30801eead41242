<?php
/** Shows the notices to mariners that are in force, the newest first. */

function notices(string $path): array
{
    $found = [];
    foreach (file($path, FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
        [$from, $until, $text] = explode("\t", $line, 3);
        $found[] = ['from' => $from, 'until' => $until, 'text' => $text];
    }
    usort($found, fn (array $a, array $b): int => $b['from'] <=> $a['from']);

    return $found;
}

$today = date('Y-m-d');
$inForce = array_filter(
    notices(__DIR__ . '/notices.tsv'),
    fn (array $notice): bool => $notice['from'] <= $today && $today <= $notice['until'],
);
?>
<ul>
<?php foreach ($inForce as $notice): ?>
  <li><b><?= htmlspecialchars($notice['from']) ?></b> <?= htmlspecialchars($notice['text']) ?></li>
<?php endforeach ?>
</ul>
