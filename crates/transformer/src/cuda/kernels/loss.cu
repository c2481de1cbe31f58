// Multiple-negatives ranking over embeddings of length 1: cross entropy over `scale` times the
// cosine, and its gradient. Tenants are blocks of a table that never meet.
// CPU twin: loss/mnrl.rs of the trainer, which scales its rows to length 1 itself; here
// `unit_forward` and `unit_backward` do.
//
// Four launches: scores; for each choice its softmax; the gradient by each anchor and column; the
// value. `sum_rows` then adds up the gradients of a text that stands in several places. A choice is
// an anchor among the columns, or, in a symmetric loss, a positive among the anchors; choices are
// numbered in this order. Each sum runs over the tenant's own rows in their order.

#define LOSS_TILE 64u

struct Ranking {
    const u32 *anchors;  // [anchor_count], rows of the embeddings
    const u32 *columns;  // [column_count]: the anchors' positives in their order, then others
    const u32 *excluded; // bits [anchor_count, ceil(column_count / 32)], or null: what is left out
    float *scores;       // [anchor_count, column_count]
    float *highest;      // [choices], the highest score of each
    float *divisors;     // [choices], the sum of exponentials
    double *losses;      // [choices]
    float *slopes;       // [anchor_count + column_count, hidden]: by anchors, then by columns
    float *loss;         // [1], the mean
    u32 anchor_count;
    u32 column_count;
    u32 is_symmetric;
    float scale; // of the cosine
    float part;  // what gradients are multiplied with, and the loss is not
};

struct LossArgs {
    const Ranking *rankings; // one a tenant
    const Tile *tiles;       // one a block, or a warp
    const float *rows;       // [texts, hidden], of length 1
    u32 tile_count;
    u32 hidden;
};

typedef ProductTiles<LOSS_TILE, LOSS_TILE> LossTiles;

DEVICE bool is_excluded(const Ranking &ranking, u32 anchor, u32 column) {
    if (!ranking.excluded) return false;
    u32 words = (ranking.column_count + 31) / 32;
    return ranking.excluded[(u64)anchor * words + column / 32] >> (column % 32) & 1;
}

// As `exponential`, but what is not a number is seen.
DEVICE float open_exponential(float x) { return x == x ? exponential(x) : x; }

// scores = scale * anchors columns^T.  Tile: `subject` a ranking, `row` an anchor, `column`.
KERNEL(ranking_scores, LossArgs, THREADS) {
    SHARED(LossTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    Ranking ranking = a.rankings[tile.subject];
    auto left = [&](u32 i, u32 p) {
        u32 anchor = tile.row + i;
        if (anchor >= ranking.anchor_count) return 0.0f;
        return a.rows[(u64)ranking.anchors[anchor] * a.hidden + p];
    };
    auto right = [&](u32 j, u32 p) {
        u32 column = tile.column + j;
        if (column >= ranking.column_count) return 0.0f;
        return a.rows[(u64)ranking.columns[column] * a.hidden + p];
    };
    multiply<LOSS_TILE, LOSS_TILE, Along::Inner, Along::Inner>(tiles, a.hidden, left, right)
        .each([&](u32 i, u32 j, float sum) {
            u32 anchor = tile.row + i, column = tile.column + j;
            if (anchor >= ranking.anchor_count || column >= ranking.column_count) return;
            bool is_out = is_excluded(ranking, anchor, column);
            ranking.scores[(u64)anchor * ranking.column_count + column] =
                is_out ? NEGATIVE_INFINITY : ranking.scale * sum;
        });
}

// Softmax and cross entropy of a choice; one warp each.  Tile: `subject` a ranking, `row` a choice.
KERNEL(ranking_choices, LossArgs, THREADS) {
    u64 warp = row_of_warp();
    if (warp >= a.tile_count) return;
    Tile tile = a.tiles[warp];
    Ranking ranking = a.rankings[tile.subject];
    bool is_anchor = tile.row < ranking.anchor_count;
    u32 right = is_anchor ? tile.row : tile.row - ranking.anchor_count;
    u64 step = is_anchor ? 1 : ranking.column_count;
    u32 count = is_anchor ? ranking.column_count : ranking.anchor_count;
    const float *scores =
        ranking.scores + (is_anchor ? (u64)right * ranking.column_count : (u64)right);
    float highest = NEGATIVE_INFINITY;
    for (u32 i = lane(); i < count; i += WARP) {
        float score = scores[i * step];
        highest = score > highest ? score : highest;
    }
    highest = warp_max(highest);
    double sum = 0.0;
    for (u32 i = lane(); i < count; i += WARP) {
        sum = sum + (double)open_exponential(scores[i * step] - highest);
    }
    sum = warp_sum(sum);
    if (lane() == 0) {
        ranking.highest[tile.row] = highest;
        ranking.divisors[tile.row] = (float)sum;
        ranking.losses[tile.row] = log(sum) - (double)(scores[right * step] - highest);
    }
}

// What the mean over choices multiplies each with.
DEVICE float part_of(const Ranking &ranking) {
    float directions = ranking.is_symmetric ? 2.0f : 1.0f;
    return 1.0f / ((float)ranking.anchor_count * directions);
}

// The gradient of the loss by the cosine of an anchor and a column.
DEVICE float score_slope(const Ranking &ranking, u32 anchor, u32 column, float part) {
    float score = ranking.scores[(u64)anchor * ranking.column_count + column];
    float weight = open_exponential(score - ranking.highest[anchor]);
    float slope = part * weight / ranking.divisors[anchor];
    if (anchor == column) slope = slope - part;
    if (ranking.is_symmetric && column < ranking.anchor_count) {
        u32 choice = ranking.anchor_count + column;
        weight = open_exponential(score - ranking.highest[choice]);
        slope = slope + part * weight / ranking.divisors[choice];
        if (anchor == column) slope = slope - part;
    }
    return slope * ranking.scale * ranking.part;
}

// Gradients by anchors (`kind` 0) or columns (`kind` 1).  Tile: `subject` a ranking, `row` an anchor
// or column, `column` a feature.
KERNEL(ranking_slopes, LossArgs, THREADS) {
    SHARED(LossTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    Ranking ranking = a.rankings[tile.subject];
    bool by_anchor = tile.kind == 0;
    u32 rows = by_anchor ? ranking.anchor_count : ranking.column_count;
    u32 inner = by_anchor ? ranking.column_count : ranking.anchor_count;
    const u32 *others = by_anchor ? ranking.columns : ranking.anchors;
    float part = part_of(ranking);
    auto left = [&](u32 i, u32 p) {
        u32 row = tile.row + i;
        if (row >= rows) return 0.0f;
        return by_anchor ? score_slope(ranking, row, p, part) : score_slope(ranking, p, row, part);
    };
    auto right = [&](u32 j, u32 p) {
        u32 feature = tile.column + j;
        return feature < a.hidden ? a.rows[(u64)others[p] * a.hidden + feature] : 0.0f;
    };
    float *to = ranking.slopes + (by_anchor ? 0 : (u64)ranking.anchor_count * a.hidden);
    multiply<LOSS_TILE, LOSS_TILE, Along::Inner, Along::Outer>(tiles, inner, left, right)
        .each([&](u32 i, u32 j, float sum) {
            u32 row = tile.row + i, feature = tile.column + j;
            if (row < rows && feature < a.hidden) to[(u64)row * a.hidden + feature] = sum;
        });
}

// The mean over choices; one warp a ranking.  Tile: `subject`.
KERNEL(ranking_value, LossArgs, THREADS) {
    u64 warp = row_of_warp();
    if (warp >= a.tile_count) return;
    Ranking ranking = a.rankings[a.tiles[warp].subject];
    u32 choices = ranking.anchor_count * (ranking.is_symmetric ? 2 : 1);
    double sum = 0.0;
    for (u32 i = lane(); i < choices; i += WARP) sum = sum + ranking.losses[i];
    sum = warp_sum(sum);
    if (lane() == 0) *ranking.loss = (float)(sum * (double)part_of(ranking));
}
