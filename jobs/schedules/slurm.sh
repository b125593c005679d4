#!/bin/bash
# A run as a Slurm array: plan, 16 jobs with a GPU each, finish. From a login node:
#   INPUT=/data/cells OUT=/results/cells MODEL=/srv/models/cells bash jobs/schedules/slurm.sh
# INPUT and OUT must be the same folders on all nodes. After a fault, the same command goes on. Options of `vitrollout
# plan`: OPTIONS="--part-rows 500", for archives with less than some 50 shards of 1,000 photos.
#SBATCH --job-name=vitrollout
#SBATCH --output=vitrollout-%x-%j.log
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
# 120 s before the time is up, a job finishes its batch and ends; shards left to do wait for the next array.

set -euo pipefail

JOBS=${JOBS:-16}
DEVICE=${DEVICE:-cuda}
PRECISION=${PRECISION:-fp16} # of that device; the login node can't ask it
OPTIONS=${OPTIONS:-}
export INPUT OUT MODEL JOBS DEVICE PRECISION OPTIONS
export PATH=/opt/vitrollout/bin:$PATH HF_HUB_OFFLINE=1

case ${1:-submit} in
    submit)
        gpu=()
        if [ "$DEVICE" = cuda ]; then gpu=(--gpus-per-task=1); fi
        plan=$(sbatch --parsable "$0" plan)
        work=$(sbatch --parsable --dependency="afterok:$plan" --array="1-$JOBS" "${gpu[@]}" "$0" work)
        # afterany: if a job of the array failed, finish says how many shards are missing
        finish=$(sbatch --parsable --dependency="afterany:$work" "$0" finish)
        echo "plan $plan, work $work, finish $finish"
        ;;
    # exec: the signal goes to the process of this script
    plan)
        # shellcheck disable=SC2086 # several words
        exec vitrollout plan "$INPUT" --out "$OUT" --model "$MODEL" --device "$DEVICE" --precision "$PRECISION" $OPTIONS
        ;;
    work)
        # the cores of this job: torch would count those of the node
        export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
        exec vitrollout work "$OUT" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
        ;;
    finish) exec vitrollout finish "$OUT" ;;
    *)
        echo "slurm.sh: $1 is not a step; use it without arguments" >&2
        exit 2
        ;;
esac
