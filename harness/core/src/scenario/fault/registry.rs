//! The list of all faults.

/// Hands the list of all faults to a macro: each one's name in a scenario file and in the journal, its module, its variant of
/// [`Fault`](crate::scenario::Fault) and its type; then, where it has an undo of its own, the same of that.
///
/// The types of core and their behaviour in the engine are found by this list: a fault that lacks one of them does not compile.
#[macro_export]
macro_rules! with_faults {
    ($list:ident) => {
        $list! {
            "signal" => signal::Signal(SignalFault);
            "freeze" => freeze::Freeze(FreezeFault), undo "thaw" => Thaw(ThawUndo);
            "corrupt" => corrupt::Corrupt(CorruptFault), undo "mend_files" => MendFiles(MendFilesUndo);
            "fill" => fill::Fill(FillFault), undo "remove_filler" => RemoveFiller(RemoveFillerUndo);
            "fill-stream" => fill_stream::FillStream(FillStreamFault), undo "empty_stream" => EmptyStream(EmptyStreamUndo);
            "hold-detach" => hold_detach::HoldDetach(HoldDetachFault), undo "let_detach" => LetDetach(LetDetachUndo);
            "slow-attach" => slow_attach::SlowAttach(SlowAttachFault), undo "let_attach" => LetAttach(LetAttachUndo);
            "delete-pods" => delete_pods::DeletePods(DeletePodsFault);
            "node-off" => node_off::NodeOff(NodeOffFault), undo "power_on" => PowerOn(PowerOnUndo);
            "helm-values" => helm_values::HelmValues(HelmValuesFault), undo "roll_back" => RollBack(RollBackUndo);
            "patch" => patch::Patch(PatchFault), undo "restore" => Restore(RestoreUndo);
            "end-connections" => end_connections::EndConnections(EndConnectionsFault);
        }
    };
}
